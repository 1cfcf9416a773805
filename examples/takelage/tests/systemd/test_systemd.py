"""The base: a container of it boots, and ansible will find its python."""

import time


def test_systemd_is_the_first_process(host):
    # Without `ps`, which a small image does not have.
    assert host.file("/proc/1/comm").content_string.strip() == "systemd"


def test_boot_ends_without_a_failed_unit(host):
    # Right after the start nobody answers yet: the bus is not there.
    for _ in range(60):
        state = host.run("systemctl is-system-running").stdout.strip()
        if state not in ("", "offline", "initializing", "starting"):
            break
        time.sleep(0.5)
    assert state == "running", host.run("systemctl list-units --failed --no-legend").stdout


def test_python_is_there(host):
    assert host.run("python3 -c 'import apt'").rc == 0
