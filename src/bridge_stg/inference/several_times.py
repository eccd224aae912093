"""Events that a scan sees several times: each time is read off the scan by itself.

A scan judges every second alone, so it sees each time at which an event happens. But the window that follows is
that of one of them, or it spans them all, where a checkpoint was trained on events that happen once. So the
model goes on from its own scan once for each time, with the other times told as before or after. Such a
checkpoint may also leave out a second when the event begins again; they are known, so it goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from bridge_stg.inference.answering import ReadClip, answer
from bridge_stg.inference.decoded_answers import AskedQueries, DecodedAnswer, token_texts
from bridge_stg.model.modeling import BridgeSTGForVideoGrounding
from bridge_stg.model.processing import BridgeSTGProcessor
from bridge_stg.prompting.parsing import parse_window
from bridge_stg.prompting.scan_times import each_time, left_out


@dataclass(frozen=True)
class ScanReader:
    """Goes on with answers by scan about one clip.

    ``limit``: the most tokens of an answer, those before the place from which it goes on included. ``seconds``:
    those at which the frame pairs of the clip begin.
    """

    model: BridgeSTGForVideoGrounding
    processor: BridgeSTGProcessor
    clip: ReadClip
    limit: int
    seconds: Sequence[int]

    def tell_apart(self, asked: AskedQueries, said: Sequence[DecodedAnswer]) -> list[DecodedAnswer]:
        """The answers; one that sees its event several times has a window for each of them."""
        found = []
        for question, one in zip(asked.ids, said, strict=True):
            whole = self._in_order(question, one)
            scans = each_time(whole.text)
            apart = self._told_apart(question, whole, scans) if scans else None
            found.append(apart or one)
        return found

    def _in_order(self, question: Sequence[int], said: DecodedAnswer) -> DecodedAnswer:
        """The answer with every second of its scan."""
        for _ in self.seconds:
            lost = left_out(said.text, self.seconds)
            if lost is None:
                break
            place, second = lost
            longer = self._go_on(question, said, place, [said.text[:place] + second], [second])
            if longer is said:
                break
            said = longer
        return said

    def _told_apart(
        self, question: Sequence[int], said: DecodedAnswer, scans: Sequence[str]
    ) -> DecodedAnswer | None:
        """An answer that goes on from each of ``scans``; None unless their windows follow one another."""
        # The scan itself is the first sentence.
        end = said.text.index(".") + 1
        told = self._go_on(question, said, end, scans, [""] * len(scans))
        windows = [parse_window(part) for part in told.text[end:].split(" It happens ")[1:]]
        if len(windows) != len(scans) or not _in_turn(windows):
            return None
        return replace(told, times_seen=len(scans))

    def _go_on(
        self,
        question: Sequence[int],
        said: DecodedAnswer,
        place: int,
        texts: Sequence[str],
        given: Sequence[str],
    ) -> DecodedAnswer:
        """The first ``place`` letters of an answer, and how the model goes on from each of ``texts``.

        ``given`` are the ends of the texts that are words of the answer, too. The answer is as it was where
        those letters and words are all the tokens that it may have.
        """
        plain = self.processor.plain_ids
        # Spaces before the text are among its pieces.
        joined = "".join(said.pieces)
        place += len(joined) - len(joined.lstrip())
        kept = sum(length <= place for length in accumulate(map(len, said.pieces)))
        words = [plain(text) for text in given]
        left = self.limit - kept - max(map(len, words))
        if left <= 0:
            return said

        begun = [(*question, *plain(text)) for text in texts]
        answers = answer(self.model, self.clip, begun, self.processor.turn_end, left)
        pieces, log_probs = said.pieces[:kept], said.log_probs[:kept]
        for new, ids, values in zip(words, answers.ids, answers.log_probs, strict=True):
            pieces = [*pieces, *token_texts(self.processor, [*new, *ids])]
            log_probs = [*log_probs, *[0.0] * len(new), *values]
        return replace(
            said,
            text="".join(pieces).strip(),
            pieces=pieces,
            log_probs=log_probs,
            alternatives=said.alternatives[:kept] + [()] * (len(pieces) - kept),
            asks_where=said.asks_where or any(answers.asks_where),
            is_cut=any(len(ids) >= left for ids in answers.ids),
        )


def _in_turn(windows: Sequence[tuple[float, float] | None]) -> bool:
    """Whether there is a window each time, none is reversed, and none begins before the last one has ended.

    >>> _in_turn([(1.0, 2.0), (4.0, 5.0)]), _in_turn([(1.0, 4.5), (4.0, 5.0)]), _in_turn([(1.0, 2.0), None])
    (True, False, False)
    >>> _in_turn([(2.0, 1.0), (4.0, 5.0)])
    False
    """
    known = [window for window in windows if window is not None]
    times = [second for window in known for second in window]
    return len(known) == len(windows) and all(before <= after for before, after in pairwise(times))
