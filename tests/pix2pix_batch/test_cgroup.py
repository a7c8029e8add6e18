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


def test_no_limits_where_there_are_no_groups(tmp_path: Path) -> None:
    assert cgroup.cpu_quota(tmp_path) is None
    assert cgroup.free_memory(tmp_path) is None


def test_version_2_in_a_container_that_sees_its_own_group_as_the_topmost(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "proc/self/cgroup": "0::/",
            "sys/fs/cgroup/cpu.max": "150000 100000",
            "sys/fs/cgroup/memory.max": str(4 * GIB),
            "sys/fs/cgroup/memory.current": str(3 * GIB),
            "sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {GIB}\nactive_file 7",
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


@pytest.mark.parametrize(("quota", "expected"), [(None, 3), (0.2, 1), (1.5, 2), (64.0, 3)])
def test_no_more_cores_than_the_quota_keeps_busy(
    quota: float | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "cpu_quota", lambda: quota)
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda process: {0, 4, 7}, raising=False)
    assert cores.cores() == expected
