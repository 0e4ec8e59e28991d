"""Instances: their ids and the names of their namespaces."""

import re

import pytest

from shared.domain.instances import NO_INSTANCE, namespace_name, new_instance_id

DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def test_ids_are_unique() -> None:
    assert len({new_instance_id() for _ in range(5000)}) == 5000


def test_every_place_of_an_id_is_random() -> None:
    ids = [new_instance_id() for _ in range(500)]
    assert {len(each) for each in ids} == {10}
    assert min(len(set(letters)) for letters in zip(*ids, strict=True)) > 20


def test_the_namespace_of_an_instance_is_a_dns_label() -> None:
    for _ in range(500):
        instance = new_instance_id()
        name = namespace_name(instance)
        assert DNS_LABEL.fullmatch(name)
        assert name == f"tenant-{instance}"


def test_without_an_instance_there_is_no_namespace() -> None:
    with pytest.raises(ValueError, match="no instance"):
        namespace_name(NO_INSTANCE)
