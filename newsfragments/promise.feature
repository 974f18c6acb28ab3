A store that lies on fewer hosts than ``kobold_ack_copies`` promises says so: create_close
and the native PUT in their answers, ``koboldfs put`` on stderr, ``!stats`` and the metrics
in counters. Nodes that run without fsync, and foreign ones, are named by ``koboldfs
status``.
