"""The machine that the box boots as."""


def test_it_is_a_machine(host):
    assert host.check_output("systemd-detect-virt --vm") in ("qemu", "kvm")
    assert host.check_output("cat /proc/1/comm") == "systemd"


def test_the_user_may_do_all(host):
    assert host.check_output("sudo id -u") == "0"


def test_no_unit_has_failed(host):
    # As root: others ask by D-Bus, which a small system does not have.
    assert host.check_output("sudo systemctl is-system-running --wait || true") == "running"


def test_names_are_looked_up(host):
    assert host.check_output("getent hosts localhost")
