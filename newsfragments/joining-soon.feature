A storage node that finds no tracker tries again after an eighth of a second, then after
twice as long each time, up to the two seconds that it always waited before: nodes that are
started together are a cluster sooner.
