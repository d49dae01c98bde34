"""``vstore init``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from vstore.api.collection import Collection
from vstore.api.opening import open_store
from vstore.cli.opening import pick_collection
from vstore.cli.options import AsJson, StorePath, Wait
from vstore.cli.plain_text import one_line
from vstore.cli.report import Report, heading
from vstore.cli.spec_file import VersionWish, Wish, read_spec_file
from vstore.errors import InvalidArgumentError, StateError, VersionMismatchError
from vstore.manifest.spec import short, suggest_label
from vstore.names import check_name
from vstore.writing.schema import check_fields

SpecFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="[SPEC.json]", help="Collection, fields and versions.", show_default=False
    ),
]
NewCollection = Annotated[
    str | None,
    typer.Option("--collection", "-c", metavar="NAME", help="Instead of the spec file's."),
]
Fields = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        metavar="NAME=TYPE",
        help="Metadata field: keyword, keywords, int, float, bool, timestamp, json; repeatable.",
    ),
]


def init(
    store: StorePath,
    spec: SpecFile = None,
    *,
    collection: NewCollection = None,
    field: Fields = None,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> Report:
    """Make a store, or add to one what a spec file declares and it lacks.

    What is there already is left alone, so the command may be run again; a version whose label
    has another spec is refused.
    """
    # All of it is read and checked before a file is made.
    wish = _with_options(Wish() if spec is None else read_spec_file(spec), collection, field or [])
    existed = store.exists()
    with open_store(store, timeout_s=wait) as opened:
        done = [] if existed and opened.epoch else ["store"]
        if wish.collection is not None and wish.collection not in opened.collections:
            opened.create_collection(wish.collection, fields=wish.fields, exist_ok=True)
            done.append(f"collection {wish.collection}")
        if wish.collection is not None or wish.fields or wish.versions:
            docs = pick_collection(opened, wish.collection)
            done += _declare(docs, wish)
        data = {"path": opened.path, "epoch": opened.epoch, "made": done}
        text = ", ".join(done) if done else "nothing: all of it is there already"
        return Report(data, [heading(f"{opened.path} at epoch {opened.epoch}"), _made(text)])


def _made(text: str) -> Text:
    return Text(f"  made {one_line(text)}")


def _with_options(wish: Wish, collection: str | None, fields: list[str]) -> Wish:
    if collection is not None:
        wish = replace(wish, collection=check_name(collection, what="--collection"))
    named: dict[str, str] = dict(wish.fields or {})
    for field in fields:
        name, equals, field_type = field.rpartition("=")
        if not equals:
            raise InvalidArgumentError(f"--field: expected NAME=TYPE, found {field!r:.60}")
        named |= check_fields({name: field_type})
    return replace(wish, fields=named)


def _declare(docs: Collection, wish: Wish) -> list[str]:
    """Add the fields and versions that are missing."""
    existing = docs.fields
    for name, field_type in (wish.fields or {}).items():
        if existing.get(name, field_type) != field_type:
            raise StateError(
                f"collection {docs.name!r}: field {name!r} is {existing[name]}, not {field_type}"
            )
    missing = [one for one in wish.versions if not _is_there(docs, one)]
    done = []
    for name, field_type in (wish.fields or {}).items():
        if name not in existing:
            docs.add_field(name, field_type, exist_ok=True)
            done.append(f"field {name}")
    for one in missing:
        label = suggest_label(docs.name, one.spec) if one.label is None else one.label
        options: dict[str, Any] = dict(one.options)  # the engine checks them
        docs.create_version(label, one.spec, **options)
        done.append(f"version {label}")
    return done


def _is_there(docs: Collection, wish: VersionWish) -> bool:
    """Whether the collection has this version.

    Raises
    ------
    VersionMismatchError
        It has the label, with another spec.
    StateError
        It has the version, with other options.
    """
    for version in docs.versions.values():
        same = version.spec.fingerprint == wish.spec.fingerprint
        if wish.label == version.label and not same:
            raise VersionMismatchError(
                f"version {version.label!r}",
                expected=short(version.spec.fingerprint),
                found=short(wish.spec.fingerprint),
                differences=version.spec.differences(wish.spec),
                fix="Another spec is another version: give it a label of its own.",
            )
        if same and wish.label in (None, version.label):
            for name, value in wish.options.items():
                if getattr(version, name) != value:
                    raise StateError(
                        f"version {version.label!r} is there with {name} "
                        f"{getattr(version, name)!r}, not {value!r:.60}"
                    )
            return True
    return False
