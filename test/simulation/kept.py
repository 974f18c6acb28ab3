"""Seeds that found something, and what that was.

A seed means something only together with the simulation that drew from it: whatever is
drawn more, or in another order, makes another run of it. So what a seed has found has a
unit test of its own where that can be, and stays here all the same.
"""

from __future__ import annotations

KEPT: dict[int, str] = {
    7: "a rebalance with AllHosts() took the copies of a whole host away",
    22: "a host whose only disk was replaced at once was not swept for",
}
