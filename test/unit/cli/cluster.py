"""What a tracker says of a small cluster."""

from __future__ import annotations

from typing import Any

HOSTS = (
    b"OK hosts=2&host1_hostid=2&host1_hostname=node2&host1_status=down"
    b"&host1_hostip=10.0.0.2&host1_http_port=7500&host1_http_get_port="
    b"&host1_altip=&host1_altmask=&host2_hostid=1&host2_hostname=n%C3%A9"
    b"&host2_status=alive&host2_hostip=10.0.0.1&host2_http_port=7500"
    b"&host2_http_get_port=8080&host2_altip=10.1.0.1&host2_altmask=10.1.0.0/16\r\n"
)
DEVICES = (
    b"OK devices=2&dev1_devid=5&dev1_hostid=2&dev1_status=down&dev1_weight=100"
    b"&dev1_mb_total=&dev1_mb_used=&dev1_mb_free=&dev1_observed_state="
    b"&dev1_utilization=&dev2_devid=1&dev2_hostid=1&dev2_status=alive&dev2_weight=50"
    b"&dev2_mb_total=2048&dev2_mb_used=512&dev2_mb_free=1536"
    b"&dev2_observed_state=writeable&dev2_utilization=12.50\r\n"
)
DOMAINS = (
    b"OK domains=1&domain1=demo&domain1classes=2&domain1class1name=default"
    b"&domain1class1mindevcount=2&domain1class1replpolicy=AllHosts%28%29"
    b"&domain1class1hashtype=NONE&domain1class2name=big&domain1class2mindevcount=3"
    b"&domain1class2replpolicy=MultipleHosts%283%29&domain1class2hashtype=MD5\r\n"
)
CLUSTER: dict[str, Any] = {
    "get_hosts": HOSTS,
    "get_devices": DEVICES,
    "get_domains": DOMAINS,
    "!version": b"2.73-kobold\r\n.\r\n",
    "!stats": b"uptime 90061\r\nqueries 7\r\nwork_queue_for_replicate 3\r\n.\r\n",
}
