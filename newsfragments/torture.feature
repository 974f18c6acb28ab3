``make torture`` tried clusters of real processes with real faults (kills, crash points, disks, networks, a PostgreSQL failover) and compared every acknowledged file with what was left.
