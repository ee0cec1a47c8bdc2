"""Three tests of a network that exists only while they run. There is nothing to set up: no conftest.py, no root."""

import pytest


def test_the_desk_reads_the_page(lab):
    hops = lab.path("desk", "web", ["alpha", "beta", "web"])
    assert len(hops.hops) == 3
    lab.http("desk", "http://web/", body="beta's page")


@pytest.mark.lab(set={"wan_mtu": 1400}, capture="beta.wan0")
def test_a_narrow_line_is_found_out(lab):
    lab.mtu("desk", "web", 1400)
    lab.seen("beta.wan0", "tcp port 80", during={"http": {"from": "desk", "to": "http://web/"}})


@pytest.mark.lab(scope="module")
@pytest.mark.fault("cut wan")
def test_without_the_line_each_office_is_alone(lab):
    lab.no_ping("desk", "web")
    lab.ping("desk", "alpha")
