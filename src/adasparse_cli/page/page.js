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
        layout[key] = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, ...layout[key] };
      }
      const legend = narrow.matches ? { orientation: "h", y: -0.25 } : {};
      Plotly.react(place, structuredClone(plot.data), {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: text, size: narrow.matches ? 11 : 13 },
        margin: { l: 60, r: 20, t: 34, b: 55 }, ...layout, legend: { ...layout.legend, ...legend },
      }, { responsive: true, displaylogo: false, displayModeBar: narrow.matches ? false : "hover" });
    }
  }

  function theme(name) {
    root.dataset.theme = name;
    draw();
  }

  document.getElementById("theme").addEventListener("click", () => theme(root.dataset.theme === "dark" ? "light" : "dark"));
  dark.addEventListener("change", (event) => theme(event.matches ? "dark" : "light"));
  narrow.addEventListener("change", draw);

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
      // what is not available stands last, whichever way the others go
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
