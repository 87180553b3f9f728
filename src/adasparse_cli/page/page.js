"use strict";
(() => {
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 640px)");
  const plots = JSON.parse(document.getElementById("plots").textContent);

  function draw() {
    if (!window.Plotly) return;
    const style = getComputedStyle(root);
    const colour = (name) => style.getPropertyValue(name).trim();
    const text = colour("--text"), line = colour("--line");
    for (const place of document.querySelectorAll("[data-plot]")) {
      const plot = plots[place.dataset.plot];
      const layout = structuredClone(plot.layout);
      const axes = Object.keys(layout).filter((key) => /^[xy]axis/.test(key));
      for (const key of new Set([...axes, "xaxis", "yaxis"])) {
        layout[key] = { gridcolor: line, zerolinecolor: text, zerolinewidth: 1, linecolor: line, automargin: true, ...layout[key] };
      }
      const height = narrow.matches && !layout.height ? { height: 320 } : {};
      Plotly.react(place, structuredClone(plot.data), {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: { color: text, size: narrow.matches ? 11 : 13, family: 'system-ui, "Segoe UI", sans-serif' },
        margin: { l: narrow.matches ? 12 : 24, r: 12, t: 14, b: 50 }, dragmode: narrow.matches ? false : "zoom",
        ...layout, ...height, showlegend: false,
      }, { responsive: true, displaylogo: false, displayModeBar: false });
    }
  }

  function theme(name) {
    root.dataset.theme = name;
    draw();
  }

  document.getElementById("theme").addEventListener("click", () => theme(root.dataset.theme === "dark" ? "light" : "dark"));
  dark.addEventListener("change", (event) => theme(event.matches ? "dark" : "light"));
  narrow.addEventListener("change", draw);

  // a legend is buttons of the page, which wrap at any width
  for (const legend of document.querySelectorAll("[data-legend]")) {
    for (const button of legend.querySelectorAll(".key")) {
      button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(shown));
        const trace = Number(button.dataset.trace), name = legend.dataset.legend;
        plots[name].data[trace].visible = shown ? true : "legendonly";
        Plotly.restyle(document.getElementById(`plot-${name}`), { visible: plots[name].data[trace].visible }, [trace]);
      });
    }
  }

  // of tables to choose from, one at a time is shown
  function choose(select) {
    for (const table of document.querySelectorAll(`[data-choice-of="${select.dataset.choose}"]`)) {
      table.hidden = table.querySelector("table").id !== select.value;
      if (!table.hidden && table.tagName === "DETAILS" && select.dataset.used) table.open = true;
    }
  }
  for (const select of document.querySelectorAll("[data-choose]")) {
    choose(select);
    select.addEventListener("change", () => {
      select.dataset.used = "yes";
      choose(select);
    });
  }

  for (const code of document.querySelectorAll("code.command")) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "copy", textContent: "copy" });
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "selected";
      }
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
    code.after(button);
  }

  // a cue where a table goes on to the right
  function cue(scroll) {
    scroll.parentNode.classList.toggle("more", scroll.scrollLeft + scroll.clientWidth < scroll.scrollWidth - 2);
  }
  const cues = () => document.querySelectorAll(".scroll").forEach(cue);
  for (const scroll of document.querySelectorAll(".scroll")) scroll.addEventListener("scroll", () => cue(scroll), { passive: true });
  for (const details of document.querySelectorAll("details")) details.addEventListener("toggle", cues);
  window.addEventListener("resize", cues);
  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
  cues();

  const links = new Map([...document.querySelectorAll(".links a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      const link = links.get(entry.target.id);
      link.setAttribute("aria-current", "true");
      const strip = link.parentNode;
      if (strip.scrollWidth > strip.clientWidth) strip.scrollTo({ left: link.offsetLeft - strip.offsetLeft - 16 });
    }
  }, { rootMargin: "0px 0px -75% 0px" });
  for (const id of links.keys()) {
    const section = document.getElementById(id);
    if (section) seen.observe(section);
  }

  function key(cell) {
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  }

  function sort(header) {
    const table = header.closest("table");
    const column = [...header.parentNode.children].indexOf(header);
    const numeric = header.classList.contains("number");
    const down = header.getAttribute("aria-sort") === (numeric ? "descending" : "ascending") ? !numeric : numeric;
    for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const x = a.cells[column], y = b.cells[column];
      if (!numeric) return (down ? -1 : 1) * x.textContent.localeCompare(y.textContent, "en", { numeric: true });
      const p = key(x), q = key(y);
      // values that are not available come last in both directions
      if (p === null || q === null) return (p === null) - (q === null);
      return down ? q - p : p - q;
    });
    table.tBodies[0].append(...rows);
  }

  function condition(table, text) {
    const found = /^\s*(.+?)\s*(<=|>=|<|>|=)\s*(-?[\d.]+)\s*$/.exec(text);
    if (found) {
      const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim().toLowerCase());
      const column = names.indexOf(found[1].toLowerCase());
      const limit = Number(found[3]);
      const holds = {
        "<": (v) => v < limit, ">": (v) => v > limit, "<=": (v) => v <= limit, ">=": (v) => v >= limit, "=": (v) => v === limit,
      }[found[2]];
      if (column >= 0) return (row) => key(row.cells[column]) !== null && holds(key(row.cells[column]));
    }
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    return (row) => words.every((word) => row.textContent.toLowerCase().includes(word));
  }

  function filter(input) {
    const table = document.getElementById(input.dataset.filter);
    const wanted = condition(table, input.value);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      row.hidden = !wanted(row);
      shown += row.hidden ? 0 : 1;
    }
    document.querySelector(`[data-count="${input.dataset.filter}"]`).textContent =
      `${shown.toLocaleString("en")} of ${table.tBodies[0].rows.length.toLocaleString("en")} rows`;
  }

  for (const button of document.querySelectorAll(".sort")) button.addEventListener("click", () => sort(button.closest("th")));
  for (const input of document.querySelectorAll("[data-filter]")) {
    input.addEventListener("input", () => filter(input));
    filter(input);
  }
  theme(dark.matches ? "dark" : "light");
})();
