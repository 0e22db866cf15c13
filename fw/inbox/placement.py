"""Where inboxes are, if Citus spreads them over several machines: so each machine is sent a batch of its own."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from fw.database.pool import Database
from fw.inbox.batch import Submission

MOST: Final = 100_000
"""How many inboxes, and how many names, are remembered."""
NODES_SECONDS: Final = 5.0
"""For how long it is believed which machine has a part. If the part has moved the batch is stored all the same, but slower."""


class Placement:
    """Remembers which account has a name, in which part of the tables its inbox is, and which machine has that part.

    The first may be wrong later: whoever stores a batch checks the names, and has those forgotten that are others' by now.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._user_ids: dict[str, str] = {}
        self._shards: dict[str, int] = {}
        self._nodes: dict[int, int] = {}
        self._nodes_until = 0.0

    async def parts(self, submissions: Sequence[Submission]) -> list[list[int]]:
        """Set the account of each submission, and return their places by machines; unknown names are in none of the lists."""
        await self._learn_names({row.username for row in submissions if row.username is not None and row.user_id is None})
        for row in submissions:
            if row.user_id is None and row.username is not None:
                row.user_id = self._user_ids.get(row.username)
        user_ids = {row.user_id for row in submissions if row.user_id is not None}
        await self._learn_shards(user_ids)
        await self._learn_nodes(user_ids)
        by_node: defaultdict[int | None, list[int]] = defaultdict(list)
        for place, row in enumerate(submissions):
            if row.user_id is not None:
                by_node[self._nodes.get(self._shards[row.user_id])].append(place)
        return list(by_node.values())

    def forget(self, submission: Submission) -> None:
        """Forget whose a name was, which is another's now, and whose the submission is."""
        if submission.username is not None:
            self._user_ids.pop(submission.username, None)
            submission.user_id = None

    async def _learn_names(self, names: set[str]) -> None:
        unknown = names - self._user_ids.keys()
        if unknown:
            rows = await self._database.rows("placement.named", list(unknown))
            if len(self._user_ids) > MOST:
                self._user_ids.clear()
            self._user_ids.update((row["username"], row["user_id"]) for row in rows)

    async def _learn_shards(self, user_ids: set[str]) -> None:
        unknown = user_ids - self._shards.keys()
        if unknown:
            if len(self._shards) > MOST:
                self._shards.clear()
                unknown = user_ids
            rows = await self._database.rows("placement.shards", list(unknown))
            self._shards.update((row["user_id"], row["shard"]) for row in rows)

    async def _learn_nodes(self, user_ids: set[str]) -> None:
        now = asyncio.get_running_loop().time()
        # Those of no known part: a part has been cut in two.
        is_odd = any(self._shards[user_id] not in self._nodes for user_id in user_ids)
        if now >= self._nodes_until or is_odd:
            self._nodes_until = now + NODES_SECONDS
            self._nodes = {row["shard"]: row["node"] for row in await self._database.rows("placement.nodes")}
            if is_odd:
                self._shards.clear()
                await self._learn_shards(user_ids)
