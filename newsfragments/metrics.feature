``--metrics-listen`` serves metrics for Prometheus.
