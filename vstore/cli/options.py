"""Arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

StorePath = Annotated[
    Path, typer.Argument(metavar="STORE", help="The store's file.", show_default=False)
]
CollectionName = Annotated[
    str | None,
    typer.Option(
        "--collection", "-c", metavar="NAME", help="Needed where the store has several collections."
    ),
]
Label = Annotated[
    str, typer.Argument(metavar="VERSION", help="Label of the version.", show_default=False)
]
Epoch = Annotated[
    int | None, typer.Option(metavar="N", help="Look at the store as it was at this commit.")
]
Tag = Annotated[
    str | None, typer.Option(metavar="TAG", help="Look at the store as it was at this tag.")
]
Reason = Annotated[
    str, typer.Option(metavar="TEXT", help="Recorded in the history.", show_default=False)
]
By = Annotated[str, typer.Option(metavar="NAME", help="Who says so; recorded.", show_default=False)]
Slice = Annotated[
    str | None,
    typer.Option(
        "--slice",
        metavar="FIELD=VALUE",
        help="Only for documents with this value of a keyword field, for example tenant=acme.",
    ),
]
Wait = Annotated[
    float, typer.Option(metavar="SECONDS", help="How long to wait for another writer to let go.")
]
BatchSize = Annotated[int, typer.Option(metavar="N", min=1, help="Documents per commit.")]
VectorsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.npy", help="Vectors, (rows, dimension), made with the version's model."
    ),
]
Embed = Annotated[
    bool,
    typer.Option(
        "--embed", help="Make the vectors from the texts; only for versions of vstore/hashing."
    ),
]
# Read by `cli.main` from the command line itself, since also an error in it must be JSON; declared
# so that the parser accepts it and --help shows it.
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, errors on stderr.")
]
