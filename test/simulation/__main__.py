"""Tries seeds."""
import sys
import time
import traceback

from test.simulation.world import Simulation
from twisted.logger import globalLogBeginner

globalLogBeginner.beginLoggingTo([lambda event: None], discardBuffer=True, redirectStandardIO=False)
first, count = int(sys.argv[1]), int(sys.argv[2])
import gc
Simulation(1).run()
gc.collect(); gc.freeze(); gc.disable()
began = time.process_time()
bad = 0
events = 0
for seed in range(first, first + count):
    world = Simulation(seed)
    if seed % 20 == 0: gc.collect()
    try:
        digest = world.run()
        events += world.clock.events
        if count == 1:
            print("\n".join(world.trace)); print(digest)
    except Exception as error:
        bad += 1
        print(seed, type(error).__name__, str(error)[:3000])
        if count == 1:
            print("\n".join(world.trace))
            traceback.print_exc()
print(bad, "bad", (time.process_time() - began) / count * 1000, "ms each", events / count)
