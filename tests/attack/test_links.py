"""Links that lead out of a root: nothing outside is read, changed or made, and the Sandbox says why it waits."""

from tests.attack.ground import COMPLETED, Ground
from tests.attack.links import LINKS, follow
from tests.attack.planted import PLANTED, moved_out_of_its_mount, planted_by_a_neighbour, swapped_before_a_restart

REFUSED = "CreateContainerConfigError"


def test_no_link_leads_out_of_a_root(ground: Ground) -> None:
    result = follow(ground)
    assert not result.escaped, result.evidence
    assert result.settled == dict.fromkeys(LINKS, REFUSED), result.evidence


def test_a_link_that_another_sandbox_made_in_a_shared_root_leads_nowhere(ground: Ground) -> None:
    result = planted_by_a_neighbour(ground)
    assert not result.escaped, result.evidence
    assert result.settled == dict.fromkeys(PLANTED, REFUSED), result.evidence


def test_a_granted_directory_that_became_a_link_is_not_followed_when_the_container_starts_again(
    ground: Ground,
) -> None:
    result = swapped_before_a_restart(ground)
    assert not result.escaped, result.evidence
    assert result.settled == {"victim": REFUSED, "neighbour": COMPLETED}, result.evidence


def test_a_directory_that_is_moved_away_takes_no_process_out_of_its_mount(ground: Ground) -> None:
    result = moved_out_of_its_mount(ground)
    assert not result.escaped, result.evidence
    assert result.settled == {"climber": COMPLETED, "mover": COMPLETED}, result.evidence
    assert "ls: ..: No such file or directory" in result.said["climber"], result.said
