``koboldfs status``, ``koboldfs why``, the census and the metrics counted copies on lost
devices as copies; now they do not, and name the devices that are lost, or were. What is
advised says when a device will count as lost, or why none does.
