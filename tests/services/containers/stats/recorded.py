"""Files of the kernel, as it wrote them about a busy container held to half a CPU and 64 MiB."""

from __future__ import annotations

V1 = {
    "cpuacct/cpuacct.usage": "1566178104\n",
    "cpuacct/cpuacct.usage_percpu": "689212849 876965255 \n",
    "cpuacct/cpuacct.stat": "user 152\nsystem 3\n",
    "cpu/cpu.stat": (
        "nr_periods 32\nnr_throttled 30\nthrottled_time 1350121893\nnr_bursts 0\nburst_time 0\n"
    ),
    "memory/memory.usage_in_bytes": "1282048\n",
    "memory/memory.max_usage_in_bytes": "3547136\n",
    "memory/memory.limit_in_bytes": "67108864\n",
    "memory/memory.failcnt": "7\n",
    "memory/memory.stat": (
        "cache 147456\nrss 57344\nmapped_file 106496\ninactive_file 0\nactive_file 147456\n"
        "hierarchical_memory_limit 67108864\ntotal_cache 147456\ntotal_inactive_file 0\n"
    ),
    "pids/pids.current": "1\n",
    "pids/pids.max": "max\n",
    "blkio/blkio.throttle.io_service_bytes_recursive": (
        "254:0 Read 147456\n254:0 Write 0\n254:0 Total 147456\nTotal 147456\n"
    ),
    "blkio/blkio.throttle.io_serviced_recursive": (
        "254:0 Read 35\n254:0 Write 0\n254:0 Total 35\nTotal 35\n"
    ),
}

V2 = {
    "cpu.stat": (
        "usage_usec 1566178\nuser_usec 1520000\nsystem_usec 46178\ncore_sched.force_idle_usec 0\n"
        "nr_periods 32\nnr_throttled 30\nthrottled_usec 1350121\nnr_bursts 0\nburst_usec 0\n"
    ),
    "memory.current": "1282048\n",
    "memory.max": "67108864\n",
    "memory.events": "low 0\nhigh 0\nmax 12\noom 7\noom_kill 2\noom_group_kill 0\n",
    "memory.stat": "anon 57344\nfile 147456\ninactive_file 4096\nactive_file 143360\npgfault 9\n",
    "pids.current": "1\n",
    "pids.max": "max\n",
    "io.stat": (
        "254:0 rbytes=147456 wbytes=4096 rios=35 wios=1 dbytes=0 dios=0\n"
        "7:0 rbytes=512 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n8:16 \n"
    ),
}

PROC_STAT = (
    "cpu  347973 1410 80505 872274 4236 0 1626 165 0 0\n"
    "cpu0 158459 693 38116 455215 1212 0 143 80 0 0\n"
    "cpu1 189513 717 42389 417058 3024 0 1483 84 0 0\n"
    "intr 10255375 0 0\nctxt 1\nbtime 1700000000\n"
)
SYSTEM_NS = (347973 + 1410 + 80505 + 872274 + 4236 + 0 + 1626) * 10_000_000

NET_DEV = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop"
    " fifo colls carrier compressed\n"
    "    lo: 24673875    4391    0    0    0     0          0         0 24673875    4391    0    0"
    "    0     0       0          0\n"
    "  eth0:    5338      36    1    2    0     0          0         0      648       8    3    4"
    "    0     0       0          0\n"
)
