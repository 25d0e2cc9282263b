"""Apply: carries out the one thing that a plan wants done, and keeps what the API server answers."""

import logging

from sandmount.answers import Conflict, Exists, Json, Missing, Unanswered
from sandmount.cluster import ApiServer
from sandmount.known import Known
from sandmount.observe import Key, Pod, parse_pod, parse_sandbox
from sandmount.steps import Action, CreatePod, DeletePod, DeleteSandbox, RelabelPod

log = logging.getLogger(__name__)

Answer = Json | Unanswered


class Hands:
    """The writes of all passes, but for statuses and Events."""

    def __init__(self, api: ApiServer, known: Known) -> None:
        self._api = api
        self._known = known
        self.ended: dict[Key, str] = {}
        """uid of the last Pod that we have asked to end, by its name: it is not lost when it is gone."""

    def has_ended(self, key: Key, pod: Pod | None) -> bool:
        """Whether we have asked the last Pod of that name to end; another one has been made when ``pod`` is not it."""
        if pod is not None and self.ended.get(key) != pod.uid:
            self.ended.pop(key, None)
        return key in self.ended

    async def carry_out(self, key: Key, action: Action) -> Answer:
        """Does it, and keeps what the answer says."""
        match action:
            case CreatePod():
                return await self._create(key, action)
            case DeletePod():
                return await self._delete(key, action)
            case RelabelPod():
                return await self._relabel(key, action)
            case DeleteSandbox():
                return await self._delete_sandbox(key, action)

    async def _create(self, key: Key, action: CreatePod) -> Answer:
        answer = await self._api.create_pod(action.body)
        if isinstance(answer, dict):
            self.ended.pop(key, None)
            self._known.made_pod(answer)
        elif isinstance(answer, Exists):
            self._known.unwatched.add(key)
        return answer

    async def _delete(self, key: Key, action: DeletePod) -> Answer:
        answer = await self._api.delete_pod(key, action.uid, action.grace)
        if isinstance(answer, dict):
            self.ended[key] = action.uid
            log.info("%s/%s: Pod deleted: %s: %s", *key, action.reason, action.message)
            if "resourceVersion" in answer.get("metadata", ()):
                self._known.pods.update(parse_pod(answer))
            else:  # a Status, or a Pod without a version: it is gone already
                self._forget_pod(key, action.uid)
        elif isinstance(answer, Missing | Conflict):
            self._forget_pod(key, action.uid)
        return answer

    async def _delete_sandbox(self, key: Key, action: DeleteSandbox) -> Answer:
        answer = await self._api.delete_sandbox(key, action.uid, action.resource_version)
        if isinstance(answer, dict):
            log.info("%s/%s: deleted: %s: %s", *key, action.reason, action.message)
        if isinstance(answer, dict) and "resourceVersion" in answer.get("metadata", ()):  # a finalizer holds it back
            self._known.sandboxes.update(parse_sandbox(answer))
        elif isinstance(answer, dict | Missing):
            known = self._known.sandboxes.get(key)
            if known is not None and known.uid == action.uid:
                self._known.sandboxes.drop(known)
        return answer

    async def _relabel(self, key: Key, action: RelabelPod) -> Answer:
        answer = await self._api.label_pod(key, action.uid, action.labels)
        if isinstance(answer, dict):
            log.warning("%s/%s: a label of ours had been changed on its Pod; put back", *key)
            self._known.unwatched.discard(key)
            self._known.pods.put(parse_pod(answer))
        elif isinstance(answer, Missing | Conflict):
            self._forget_pod(key, action.uid)
        return answer

    def _forget_pod(self, key: Key, uid: str) -> None:
        """The cache was behind: this Pod is gone. What stands there now is read."""
        known = self._known.pods.get(key)
        if known is not None and known.uid == uid:
            self._known.pods.drop(known)
        self._known.unwatched.add(key)
