"""``vstore check``."""

from rich.text import Text

from vstore.cli.exit_code import ExitCode
from vstore.cli.opening import require_file
from vstore.cli.options import AsJson, StorePath
from vstore.cli.plain_text import counted, one_line, size
from vstore.cli.report import Report, View, heading, table
from vstore.inspection.check import CheckReport, check_file
from vstore.storage.file import PathMedium


def check(store: StorePath, *, as_json: AsJson = False) -> Report:
    """Verify every byte, hash and invariant of a file; 1 if there are problems.

    The file is read as it is, without opening it as a store, so that damage which keeps a store
    from opening is reported too.
    """
    require_file(store)
    medium = PathMedium(store)
    file = medium.open(writable=False, create=False)
    try:
        found = check_file(medium.name, file)
    finally:
        file.close()
    code = ExitCode.OK if found.ok else ExitCode.NO
    return Report({"path": medium.name, **found.to_dict()}, _view(medium.name, found), code)


def _view(name: str, found: CheckReport) -> View:
    verdict = "sound" if found.ok else counted(len(found.problems), "problem")
    view: View = [heading(f"{name}: {verdict}")]
    newest = "no epoch" if found.epoch is None else f"newest epoch {found.epoch}"
    view.append(
        Text(
            f"  {newest}, {counted(found.epochs, 'epoch')} readable, "
            f"{counted(found.blocks, 'block')}, "
            f"{size(found.size_bytes)}"
        )
    )
    view += [Text(f"  note: {one_line(note)}") for note in found.notes]
    if not found.ok:
        rows = [
            ("unknown" if one.offset is None else f"{one.offset:,}", one.what)
            for one in found.problems
        ]
        view.append(table(["#byte", "problem"], rows))
    return view
