"""For tests of programs that use vstore: stores that fail and lose power, vectors without a model.

`FaultyMedium` is a place to open a store in, by ``vstore.open(medium)``. It records every operation
and fails those that it was told to, so that a program can be seen to survive a full disk. From its
record `power_losses` makes the files that a power loss could leave behind. `HashingEmbedder` turns
text into vectors, the same ones on every machine.

vstore's own crash tests stand on this package; nothing else in vstore does, but for the command
line, which uses `HashingEmbedder`.
"""

from vstore.storage.memory import MemoryMedium
from vstore.testing.faulty_medium import Failure, FaultyMedium, Operation
from vstore.testing.hashing_embedder import HashingEmbedder
from vstore.testing.power_loss import DAMAGES, Damage, PowerLoss, power_losses, survivors

__all__ = [
    "DAMAGES",
    "Damage",
    "Failure",
    "FaultyMedium",
    "HashingEmbedder",
    "MemoryMedium",
    "Operation",
    "PowerLoss",
    "power_losses",
    "survivors",
]
