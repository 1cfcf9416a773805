"""The web server, in a container that was booted from the product. testvars are the variables of ansible."""

import pytest
import takeltest

testinfra_hosts = takeltest.hosts()


@pytest.fixture(scope="module")
def page(host, testvars):
    fetch = "import sys, urllib.request; sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1]).read())"
    return host.check_output("python3 -c %s %s", fetch, testvars["web_address"])


def test_systemd_is_the_first_process(host):
    # Without `ps`, which a small image does not have.
    assert host.file("/proc/1/comm").content_string.strip() == "systemd"


def test_service_runs_and_is_enabled(host):
    nginx = host.service("nginx")
    assert nginx.is_running
    assert nginx.is_enabled


def test_port_is_open(host, testvars):
    # Without `ss`, which a small image does not have.
    connect = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)"
    assert host.run("python3 -c %s %s", connect, str(testvars["web_port"])).rc == 0


def test_page_has_the_title(page, testvars):
    assert f"<h1>{testvars['web_title']}</h1>" in page


def test_page_names_all_links(page, testvars):
    for link in testvars["web_links"]:
        assert link in page
