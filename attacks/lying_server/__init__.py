"""A server that lies about the item table, so that a secure sum shows what single devices uploaded.

Each attack is a `TableAttack`: the tables that devices are sent, and how the opened sum is read. What plays a round is
handed in (`Play`), so that nothing here knows how a round works; `demonstrate` runs an attack through it and scores
what was read, or keeps the words in which it was refused.
"""

from attacks.lying_server.blocks import BLOCKS
from attacks.lying_server.demonstration import demonstrate
from attacks.lying_server.saturation import SATURATION
from attacks.lying_server.stage import Play, Played, Refused, Situation, TableAttack

ATTACKS = (SATURATION, BLOCKS)

__all__ = ["ATTACKS", "BLOCKS", "SATURATION", "Play", "Played", "Refused", "Situation", "TableAttack", "demonstrate"]
