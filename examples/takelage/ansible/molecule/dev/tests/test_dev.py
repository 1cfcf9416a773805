"""The developer's tools. The tests of the web server run besides."""

import takeltest

testinfra_hosts = takeltest.hosts()


def test_packages(host, testvars):
    for name in testvars["tools_packages"]:
        assert host.package(name).is_installed, name


def test_user(host, testvars):
    assert host.user(testvars["tools_user"]).shell == "/bin/bash"
