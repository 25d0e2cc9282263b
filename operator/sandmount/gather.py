"""Gather: what one pass over a Sandbox reads beyond what the watches have brought.

Most passes read nothing. What cannot be read now is a Transient, never an absence.
"""

from dataclasses import replace
from datetime import datetime

from sandmount.answers import Missing, Transient, words
from sandmount.cluster import ApiServer
from sandmount.known import Known
from sandmount.observe import Key, Node, Pod, Sandbox, parse_node, parse_pod
from sandmount.podevents import PodEvents
from sandmount.podstate import events_due


class Gatherer:
    """The reads of all passes."""

    def __init__(self, api: ApiServer, known: Known) -> None:
        self._api = api
        self._known = known
        self._events = PodEvents(api)

    async def pod_at(self, key: Key, sandbox: Sandbox) -> Pod | None:
        """The Pod of that name: from the watch, or read where the watch cannot tell.

        That is where it shows one that is not the Sandbox's, which may be long gone, and where it shows none although
        there was one: our label can be taken off a Pod, also while no operator is looking.
        """
        pod = self._known.pods.get(key)
        watched = pod is not None and pod.labelled and pod.owner_uid == sandbox.uid
        missed = key in self._known.unwatched or sandbox.memory.had_pod
        if watched or (pod is None and not missed):
            return pod
        answer = await self._api.get_pod(key)
        if isinstance(answer, dict):
            found = parse_pod(answer)
            if found.labelled:
                self._known.unwatched.discard(key)
            if found.labelled or found.owner_uid == sandbox.uid:
                self._known.pods.put(found)
            return found
        if not isinstance(answer, Missing):
            raise Transient(f"the Pod cannot be read: {words(answer)}", retry_after=30)
        self._known.unwatched.discard(key)
        if pod is not None:
            self._known.pods.drop(pod)
        return None

    async def is_ghost(self, sandbox: Sandbox) -> bool:
        """Whether a Sandbox that once had a Pod is no longer there.

        A broken watch can bring the end of a Pod before the end of its Sandbox; a live read keeps a Pod that nobody
        wants from being made. Not asked for first Pods, so those cost no read.
        """
        answer = await self._api.get_sandbox(sandbox.key)
        if isinstance(answer, dict) and answer["metadata"]["uid"] == sandbox.uid:
            return False
        if not isinstance(answer, dict | Missing):
            raise Transient(f"the Sandbox cannot be read: {words(answer)}", retry_after=30)
        self._known.sandboxes.drop(sandbox)
        return True

    async def node(self, name: str | None) -> Node | None:
        """The Node of that name, which may be gone; None when no name is given."""
        if name is None:
            return None
        answer = await self._api.get_node(name)
        if isinstance(answer, dict):
            return parse_node(answer)
        if isinstance(answer, Missing):
            return Node(name, found=False)
        raise Transient(f'node "{name}" cannot be read: {words(answer)}')  # our own delay: an event may end it

    async def with_events(self, pod: Pod | None, now: datetime) -> Pod | None:
        """The Pod, with what only Events tell about why it does not start."""
        if pod is None or events_due(pod, now) != 0:
            return pod
        trouble = await self._events.about(pod.key, pod.uid)
        return pod if trouble is None else replace(pod, trouble=trouble)
