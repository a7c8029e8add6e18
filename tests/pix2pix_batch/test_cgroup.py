"""Limits of containers, batch systems and systemd, as the kernel's files say them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pix2pix_batch import cgroup, cores

GIB = 1 << 30


def put(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")


def limit(size: int, used: int = 0, **stat: int) -> dict[str, str]:
    told = "\n".join(f"{name} {value}" for name, value in stat.items())
    return {"memory.max": str(size), "memory.current": str(used), "memory.stat": told}


def under(folder: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{folder}/{name}": text for name, text in files.items()}


def test_no_limits_where_there_are_no_groups(tmp_path: Path) -> None:
    assert cgroup.cpu_quota(tmp_path) is None
    assert cgroup.free_memory(tmp_path) is None


def test_version_2_in_a_container_that_sees_its_own_group_as_the_topmost(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "proc/self/cgroup": "0::/",
            "sys/fs/cgroup/cpu.max": "150000 100000",
            **under("sys/fs/cgroup", limit(4 * GIB, 3 * GIB, anon=5, inactive_file=GIB)),
        },
    )
    assert cgroup.cpu_quota(tmp_path) == 1.5
    assert cgroup.free_memory(tmp_path) == 2 * GIB


def test_the_smallest_limit_of_all_groups_above_counts(tmp_path: Path) -> None:
    """As of a step of a batch job, whose job has the limit."""
    put(
        tmp_path,
        {
            "proc/self/cgroup": "0::/slurm/job_7/step_0",
            "sys/fs/cgroup/slurm/job_7/cpu.max": "400000 100000",
            "sys/fs/cgroup/slurm/job_7/memory.max": str(8 * GIB),
            "sys/fs/cgroup/slurm/job_7/memory.current": str(GIB),
            "sys/fs/cgroup/slurm/job_7/step_0/cpu.max": "max 100000",
            "sys/fs/cgroup/slurm/job_7/step_0/memory.max": "max",
            "sys/fs/cgroup/slurm/job_7/step_0/memory.current": "1000",
            "sys/fs/cgroup/slurm/cpu.max": "max 100000",
            "sys/fs/cgroup/slurm/memory.max": str(100 * GIB),
            "sys/fs/cgroup/slurm/memory.current": str(90 * GIB),
            "sys/fs/cgroup/cgroup.controllers": "cpu memory",
        },
    )
    assert cgroup.cpu_quota(tmp_path) == 4
    assert cgroup.free_memory(tmp_path) == 7 * GIB


def test_version_1_whose_path_is_the_hosts(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "proc/self/cgroup": "5:memory:/docker/0af3\n4:cpu,cpuacct:/docker/0af3\n0::/",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": str(2 * GIB),
            "sys/fs/cgroup/memory/memory.usage_in_bytes": str(GIB),
            "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 1000",
        },
    )
    assert cgroup.cpu_quota(tmp_path) == 2
    assert cgroup.free_memory(tmp_path) == GIB + 1000


def test_version_1_without_a_quota(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "proc/self/cgroup": "2:cpuacct:/\n1:cpu:/",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    )
    assert cgroup.cpu_quota(tmp_path) is None


def mountinfo(kind: str, above: str, place: str, options: str = "rw") -> str:
    """As proc_pid_mountinfo(5) has it, after one of another kind."""
    others = "20 1 0:20 / /proc rw,nosuid shared:3 - proc proc rw\n"
    return (
        f"{others}33 32 0:28 {above} {place} ro,nosuid shared:9 master:4 - {kind} cgroup {options}"
    )


@pytest.mark.parametrize(
    ("files", "free"),
    [
        # throttled above, long before what is refused
        ({**limit(8 * GIB, GIB), "memory.high": str(3 * GIB)}, 2 * GIB),
        ({**limit(8 * GIB, GIB), "memory.high": "max"}, 7 * GIB),
        ({"memory.max": "max", "memory.current": "77", "memory.high": "max"}, None),
        (limit(0), 0),
        (limit(GIB, 2 * GIB), 0),
        (limit(GIB, GIB, inactive_file=GIB // 2), GIB // 2),
        ({"memory.max": str(GIB)}, None),
        ({"memory.max": "", "memory.current": ""}, None),
    ],
)
def test_limits_of_memory_of_version_2(
    tmp_path: Path, files: dict[str, str], free: int | None
) -> None:
    put(tmp_path, {"proc/self/cgroup": "0::/a", **under("sys/fs/cgroup/a", files)})
    assert cgroup.free_memory(tmp_path) == free


@pytest.mark.parametrize(
    ("path", "above", "place", "group"),
    [
        ("/", "/", "/sys/fs/cgroup", ""),
        # a container that sees its own group as the topmost one, and a group of its own within
        ("/kube/pod 7/c1/job", "/kube/pod 7/c1", "/sys/fs/cgroup", "job"),
        ("/kube/pod 7/c1", "/kube/pod 7/c1", "/sys/fs/cgroup", ""),
        # with a name space of its own
        ("/job", "/", "/sys/fs/cgroup", "job"),
        ("/../other", "/", "/sys/fs/cgroup", ""),
        # in other places
        ("/job", "/", "/cgroup/all of it", "job"),
        ("/k\udcff", "/", "/sys/fs/cgroup", "k\udcff"),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_groups_are_found_by_where_they_are_mounted(
    tmp_path: Path, path: str, above: str, place: str, group: str, version: int
) -> None:
    told = above.replace(" ", "\\040"), place.replace(" ", "\\040")
    if version == 2:
        files = {"memory.max": str(3 * GIB), "memory.current": str(GIB), "cpu.max": "50000 100000"}
        mounted, line = mountinfo("cgroup2", *told), f"0::{path}"
    else:
        files = {"memory.limit_in_bytes": str(3 * GIB), "memory.usage_in_bytes": str(GIB),
                 "cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "100000"}  # fmt: skip
        mounted = mountinfo("cgroup", *told, "rw,cpu,cpuacct,memory")
        line = f"3:cpu,cpuacct,memory:{path}"
    folder = "/".join(filter(None, (place.lstrip("/"), group)))
    put(tmp_path, under(folder, files))
    for name, text in (("cgroup", line), ("mountinfo", mounted)):
        (tmp_path / "proc/self").mkdir(parents=True, exist_ok=True)
        (tmp_path / "proc/self" / name).write_bytes(f"{text}\n".encode("utf-8", "surrogateescape"))
    assert cgroup.free_memory(tmp_path) == 2 * GIB
    assert cgroup.cpu_quota(tmp_path) == 0.5


def test_version_1_with_the_limit_of_a_group_that_is_not_seen(tmp_path: Path) -> None:
    """A pod's, where the container's own is the largest number of pages: none."""
    files = {
        "proc/self/cgroup": "5:memory:/kubepods/pod1/c1",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": str(GIB),
        "sys/fs/cgroup/memory/memory.stat": f"cache 1\nhierarchical_memory_limit {3 * GIB}",
    }
    put(tmp_path, files)
    assert cgroup.free_memory(tmp_path) == 2 * GIB
    put(tmp_path, {"sys/fs/cgroup/memory/memory.stat": "cache 1"})
    assert cgroup.free_memory(tmp_path) is None


@pytest.mark.parametrize(("quota", "expected"), [(None, 3), (0.2, 1), (1.5, 2), (64.0, 3)])
def test_no_more_cores_than_the_quota_keeps_busy(
    quota: float | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "cpu_quota", lambda: quota)
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda process: {0, 4, 7}, raising=False)
    assert cores.cores() == expected
