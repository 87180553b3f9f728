"""Runs the steps of preparation on Spark.

Frames are files in the folder of the data, which all workers must see. Spark's tasks call the functions that
`prep.engine=local` calls on this machine. Spark's shuffle adds counts and ranks equal rows. The prepared bytes do not depend
on the number or the order of the workers.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from adasparse_cli.columns.repeats import Repeats
from adasparse_cli.errors import AdasparseError, ResourceError, UsageError
from adasparse_cli.prep.counts import POSITIVES, ROWS, Count
from adasparse_cli.prep.engine import Item, Result, Shared
from adasparse_cli.prep.recipe import Progress, RawData
from adasparse_cli.prep.spill import BagTable, Spill, multi_valued, require_rows
from adasparse_cli.spark import tasks
from adasparse_cli.spark.session import ATTEMPTS, started

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame, SparkSession

# Target number of rows per task of a shuffle.
SHUFFLED_ROWS = 1 << 20
# Time in which a worker must start the first task. A standalone cluster has running workers; others start workers on demand.
ANSWER_SECONDS, ON_DEMAND_SECONDS = 50, 600
_GLOB = str.maketrans({character: f"\\{character}" for character in "{}[]*?\\"})


class SparkEngine:
    """Preparation on a Spark cluster, or with Spark on this machine.

    Args:
        master: address of the cluster, see `session.started`.
        name: name of the data.
        folder: folder in which the data are prepared.
    """

    frames_at_once = 1

    def __init__(self, master: str | None, name: str, folder: Path) -> None:
        self._master, self._name, self._folder = master, name, folder
        self._stack = contextlib.ExitStack()
        self._sources: Sequence[Path] = ()
        self._digests: list[str] = []

    @property
    def session(self) -> SparkSession:
        """The running session."""
        return self._session

    def __enter__(self) -> Self:
        self._session = self._stack.enter_context(started(self._master, self._name))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def digests(self, sources: Sequence[Path]) -> Callable[[], list[str]]:
        """See `Engine.digests`. The digests are available after `read`.

        Raises:
            ResourceError: no worker answers, or a worker does not see the files.
        """
        self._sources = sources
        self.require_workers([self._folder, *sources])
        return lambda: self._digests

    def require_workers(self, paths: Sequence[Path]) -> None:
        """Check that workers answer, see the paths, and have the same versions of packages.

        Raises:
            ResourceError: no worker answers, a worker does not see a path, or versions differ.
        """
        sizes = {path.absolute(): path.stat().st_size if path.is_file() else None for path in paths}
        number = max(2, self._session.sparkContext.defaultParallelism) * 2
        answers: list[tuple[str, list[str], dict[str, str]]] = []
        faults: list[BaseException] = []

        def ask() -> None:
            try:
                answers.extend(self.map(tasks.look_around, sizes, range(number)))
            except BaseException as error:
                faults.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        limit = ANSWER_SECONDS if self._session.sparkContext.master.startswith("spark://") else ON_DEMAND_SECONDS
        thread.join(limit)
        if faults:
            raise faults[0]
        if not answers:
            raise ResourceError(
                f"no worker of {self._session.sparkContext.master} started a task within {limit} s",
                hint="check that the cluster has workers with free cores and memory",
            )
        own = tasks.environment()
        for host, hidden, found in answers:
            if hidden:
                raise ResourceError(
                    f"the worker {host} does not see {hidden[0]}, or sees a file of another size",
                    hint="raw= and paths.data must be on a file system that all workers have mounted at the same path",
                )
            if found != own:
                what = next(name for name in own if found[name] != own[name])
                raise ResourceError(
                    f"the worker {host} has {what} {found[what]}, but this machine has {own[what]}",
                    hint="install the same versions on all machines; PYSPARK_PYTHON sets the interpreter",
                )

    def read(self, raw: RawData, folder: Path, progress: Progress, *, size: int) -> Spill:
        """See `Engine.read`.

        Raises:
            UsageError: the recipe reads its files only in one process.
        """
        if raw.reader is None:
            raise UsageError(
                f"data={self._name}: its recipe reads the raw files in one process and cannot run on Spark",
                hint="use prep.engine=local; only tables (data=tabular) and IAAC's text run on Spark",
            )
        folder.mkdir(parents=True)
        surveys = list(self.map(tasks.survey, raw.reader, range(len(self._sources))))
        self._digests = [survey.sha256 for survey in surveys]
        shards = list(enumerate(shard for survey in surveys for shard in survey.shards))
        multi = multi_valued(raw)
        read = list(self.map(tasks.read_shard, (raw.reader, multi, folder.absolute()), shards))
        spill = Spill(folder.absolute(), {name: BagTable() for name in multi}, test_sources=raw.test_sources)
        numbers = [_add(spill, one) for one in read]
        raw.rejects.extend(reject for one in read for reject in one.rejects)
        raw.reader.note([one.noted for one in read])
        if multi:
            frames = [(path, new) for one, new in zip(read, numbers, strict=True) for path in one.paths]
            spill.replace(self.map(tasks.number_bags, None, frames))
        progress.advance(size, {"rows": spill.rows})
        require_rows(raw, spill)
        return spill

    def map(
        self, work: Callable[[Shared, Item], Result], shared: Shared, items: Sequence[Item], *, at_once: int = 1
    ) -> Iterator[Result]:
        """See `Engine.map`. Each item is a task.

        Raises:
            AdasparseError: a task raised this error. After any other error, Spark repeats the task.
            ResourceError: a task failed in all attempts.
        """
        if not items:
            return iter(())
        from py4j.protocol import Py4JError
        from pyspark import cloudpickle

        context = self._session.sparkContext
        sent = context.broadcast(cloudpickle.dumps((work, shared)))
        try:
            run = functools.partial(_run, sent, uuid.uuid4().hex)
            answers = context.parallelize(list(items), len(items)).map(run).collect()
        except Py4JError as error:
            raise _task_error(error) from None
        finally:
            sent.destroy()
        for answer in answers:
            if isinstance(answer, _Refused):
                raise answer.error()
        return iter(answers)

    def count(self, spill: Spill, asked: Sequence[Count]) -> Iterator[pl.DataFrame]:
        """See `Engine.count`: counts of each frame, then Spark's sum by key."""
        from pyspark.sql import functions as f

        schema = spill.scan(paths=spill.paths[:1])
        folder = self._new_folder(spill)
        written = self.map(tasks.write_counts, (asked, spill.split, folder), list(enumerate(spill.paths)))
        least = {k: one.least for k, one in enumerate(asked) if one.least > 1}
        kept = f.lit(True)
        for value in set(least.values()):
            own = [k for k, number in least.items() if number == value]
            kept = kept & (~f.col(tasks.ASKED).isin(own) | (f.col(ROWS) >= value))
        summed = (
            self._frame(list(written), spill.rows)
            .groupBy(tasks.ASKED, tasks.NUMBER, tasks.TEXT)
            .agg(f.sum(ROWS).alias(ROWS), f.sum(POSITIVES).alias(POSITIVES))
            .filter(kept)
        )
        found = self._written(summed, folder / "summed", by=tasks.ASKED)
        for k, one in enumerate(asked):
            types = dict(schema.select(one.keys).collect_schema())
            parts = sorted((found / f"{tasks.ASKED}={k}").glob("*.parquet"))
            columns = {tasks.NUMBER: pl.Int64, tasks.TEXT: pl.String, ROWS: pl.Int64, POSITIVES: pl.Int64}
            table = (
                pl.read_parquet(parts, glob=False, hive_partitioning=False) if parts else pl.DataFrame(schema=columns)
            )
            sums = [table[ROWS], *([table[POSITIVES]] if one.positives else [])]
            yield pl.DataFrame([*tasks.keys_of(table, types), *sums])

    def distinct(self, spill: Spill, column: str) -> pl.Series:
        """See `Engine.distinct`."""
        (found,) = self.count(spill, [Count(keys=(pl.col(column),))])
        return found[column].sort()

    def repeats(self, spill: Spill, *, labelled: bool) -> Repeats:
        """See `Engine.repeats`: Spark brings equal hashes together and ranks their rows."""
        from pyspark.sql import Window
        from pyspark.sql import functions as f

        folder, starts = self._new_folder(spill), [0]
        for rows in spill.heights:
            starts.append(starts[-1] + rows)
        items = list(zip(range(len(spill.paths)), spill.paths, starts, strict=False))
        written = list(self.map(tasks.write_hashes, (labelled, folder), items))
        rank = f.row_number().over(Window.partitionBy(tasks.HASH).orderBy(tasks.ROW)) - 1
        ranked = self._frame(written, spill.rows).select(tasks.ROW, rank.cast("long").alias(tasks.RANK))
        found = self._written(ranked.filter(f.col(tasks.RANK) > 0), folder / "ranked")
        parts = sorted(found.glob("*.parquet"))
        schema = {tasks.ROW: pl.Int64, tasks.RANK: pl.Int64}
        table = pl.read_parquet(parts, glob=False).sort(tasks.ROW) if parts else pl.DataFrame(schema=schema)
        return Repeats(rows=table[tasks.ROW].to_numpy(), ranks=table[tasks.RANK].cast(pl.UInt64).to_numpy())

    def _new_folder(self, spill: Spill) -> Path:
        folder = spill.folder / f"spark-{uuid.uuid4().hex[:8]}"
        folder.mkdir()
        return folder

    def _frame(self, paths: Sequence[str], rows: int) -> DataFrame:
        """A Spark table. `rows` determines the number of tasks of a shuffle, on which results do not depend."""
        number = max(self._session.sparkContext.defaultParallelism, rows // SHUFFLED_ROWS + 1)
        self._session.conf.set("spark.sql.shuffle.partitions", str(number))
        return self._session.read.parquet(*(f"file://{path.translate(_GLOB)}" for path in paths))

    def _written(self, frame: DataFrame, folder: Path, *, by: str | None = None) -> Path:
        """Compute a table and write it as Parquet."""
        from py4j.protocol import Py4JError

        try:
            writer = frame.write if by is None else frame.write.partitionBy(by)
            writer.parquet(f"file://{folder}")
        except Py4JError as error:
            raise _task_error(error) from None
        return folder


class _Refused:
    """An error of a task that is reported to the user. Spark does not repeat the task."""

    def __init__(self, error: AdasparseError) -> None:
        self._kind, self._values = type(error), dict(error.__dict__)

    def error(self) -> AdasparseError:
        """The error."""
        found = self._kind.__new__(self._kind)
        found.__dict__.update(self._values)
        found.args = (found.message,)
        return found


# function and shared values of the tasks of a worker, by token of the call; only the last call is kept
_RECEIVED: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {}


def _run(sent: Broadcast[bytes], token: str, item: Any) -> Any:
    """Call the function that was sent to this worker."""
    from pyspark import cloudpickle

    if token not in _RECEIVED:
        _RECEIVED.clear()
        _RECEIVED[token] = cloudpickle.loads(sent.value)
    work, shared = _RECEIVED[token]
    try:
        return work(shared, item)
    except AdasparseError as error:
        return _Refused(error)


def _add(spill: Spill, read: tasks.ReadShard) -> Mapping[str, Any]:
    """Add a part to the spill. Return, for each multi-valued field, the numbers of the part's bags among all parts."""
    spill.paths += read.paths
    spill.heights += read.heights
    spill.rows += sum(read.heights)
    spill.bytes += read.bytes
    for source, rows in read.rows_per_source.items():
        spill.rows_per_source[source] = spill.rows_per_source.get(source, 0) + rows
    numbers = {}
    for name, path in read.texts.items():
        texts = pl.read_parquet(path, glob=False)["text"]
        empty = pl.Series("text", [0], dtype=pl.Int32)
        numbers[name] = pl.concat([empty, spill.bags[name].indices(texts).cast(pl.Int32).alias("text")]).to_numpy()
    return numbers


def _task_error(error: Exception) -> ResourceError:
    """A Spark error as one line: the last line of a Python traceback, or the Java exception."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    python = [line for line in lines if not line.startswith(("at ", "File ", "Traceback", "..."))]
    named = [line for line in python if ": " in line and "org.apache.spark" not in line and "py4j" not in line]
    return ResourceError(
        f"a task of Spark failed {ATTEMPTS} times: {(named or python or ['unknown error'])[0]}",
        hint="Spark's log has the details; prep.engine=local does not use Spark",
    )
