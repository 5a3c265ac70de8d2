"""What speaks against a sentence, though its words stand in a passage: figures, negations, names, scope. Pure."""

from __future__ import annotations

from collections.abc import Container, Sequence

from folkmoot.conversations.citations.sources import Sources, Unit
from folkmoot.conversations.citations.vocabulary import CLASSES, LITTLE, SLOTS
from folkmoot.conversations.citations.wording import Token, Wording

OTHERWISE = frozenset(
    {"figure", "figure of something else", "bound", "negation", "name", "word"} | {kind for kind, _ in CLASSES.values()}
)
"""What `Found.why` says if a passage says something else, and not only less."""


def contradiction(sources: Sources, said: Wording, window: Sequence[Unit]) -> str:
    for place, figure in enumerate(said.figures):
        if figure.soft:
            continue
        there = [(unit, at) for unit in window for at, other in enumerate(unit.said.figures) if figure.agrees(other)]
        if not there:
            return "figure"
        if _belongs_elsewhere(sources, said, place, window):
            return "figure of something else"
        bounds = [unit.said.bounds[at] for unit, at in there]
        if said.bounds[place] and all(bound == -said.bounds[place] for bound in bounds):
            return "bound"
    if _denied_otherwise(sources, said, window):
        return "negation"
    return _swapped(sources, said, window)


def less(sources: Sources, said: Wording, window: Sequence[Unit]) -> str:
    """What the sentence says beyond the passage: a duty, all instead of some, a clause of its own."""
    concepts = frozenset[str]().union(*(unit.said.concepts for unit in window))
    denied = frozenset[str]().union(*(nearest for unit in window for nearest, _ in unit.said.denials))
    mine = frozenset[str]().union(*(nearest for nearest, _ in said.denials))
    marks = frozenset[str]().union(*(unit.said.marks for unit in window))
    bound = "#oblige" in concepts or "#permit" in denied or "only" in marks
    if "#oblige" in said.concepts - mine and not bound and concepts & {"#permit", "#advise"}:
        return "duty"
    if "all" in said.marks and not all("all" in unit.said.marks for unit in window):
        return "all"
    if said.denials and "only" in marks and not sources.meet(mine, denied):
        return "only"
    if any(_replaced(sources, said, at, unit.said) for at in range(1, len(said.tokens) - 1) for unit in window):
        return "another word"
    parts: dict[int, list[tuple[float, float]]] = {}
    run = 0.0
    for token in said.tokens:
        if token.stop:
            continue
        weight, quality = sources.weight(token.key), sources.quality(token.key, window)
        parts.setdefault(token.part, []).append((weight, quality))
        run = 0.0 if quality else run + 1
        if run >= 3:
            return "addition"
    for words in parts.values():
        total = sum(weight for weight, _ in words)
        if len(words) >= 2 and sum(w * q for w, q in words) < 0.34 * total:
            return "addition"
    return ""


def _belongs_elsewhere(sources: Sources, said: Wording, place: int, window: Sequence[Unit]) -> bool:
    """Whether the words about a figure stand about another figure of its kind in the passage."""
    figure, part = said.figures[place], said.parts[place]
    mine = {token.key for token in said.tokens if not token.stop and token.part == part}
    beside = [other for at, other in enumerate(said.figures) if said.parts[at] == part]
    own: list[tuple[Unit, int]] = []
    rivals: list[tuple[Unit, int]] = []
    for unit in sources.beside(window):
        for at, other in enumerate(unit.said.figures):
            if figure.agrees(other):
                own.append((unit, unit.said.parts[at]))
            elif not other.soft and figure.rivals(other) and not any(one.agrees(other) for one in beside):
                rivals.append((unit, unit.said.parts[at]))
    if not mine or not rivals:
        return False
    best = max(_about(sources, mine, *each) for each in own)
    if max(_about(sources, mine, *each) for each in rivals) > best + 0.3:
        return True
    # "25 euros, for children 10 euros": children are not what the 25 are for.
    unit, at = own[0]
    return len(own) == 1 and any(
        _alone(sources, mine, theirs, rival) > 0.5 for theirs, rival in rivals if theirs is unit and rival > at
    )


def _alone(sources: Sources, mine: set[str], unit: Unit, part: int) -> float:
    """Weight of these words that stand in this clause of a sentence and in none before it."""
    here, before = _clauses(unit, part)
    return sum(sources.weight(key) for key in mine if sources.among(key, here) and not sources.among(key, before))


def _about(sources: Sources, mine: set[str], unit: Unit, part: int) -> float:
    """How many of these words stand in a clause; those of the clauses before it count half, for it may lean on them."""
    here, before = _clauses(unit, part)
    before |= unit.around
    score = 0.0
    for key in mine:
        near = sources.near(key)
        quality = max((q for k, q in near.items() if k in here), default=0.0)
        quality = max(quality, 0.5 * max((q for k, q in near.items() if k in before), default=0.0))
        score += sources.weight(key) * quality
    return score


def _denied_otherwise(sources: Sources, said: Wording, window: Sequence[Unit]) -> bool:
    """Whether one denies what the other says. Each negation answers one of the other side."""
    open_ = [denial for unit in window for denial in unit.said.denials]
    mine = frozenset(said.keys) | said.concepts
    there = frozenset[str]().union(*(unit.said.concepts.union(unit.said.keys) for unit in window))
    only = frozenset[str]().union(*(unit.said.only for unit in window))
    unanswered: list[frozenset[str]] = []
    for nearest, near in said.denials:
        answers = [d for d in open_ if sources.meet(nearest, d[0])] or [
            d for d in open_ if sources.meet(nearest, d[1]) or sources.meet(near, d[0])
        ]
        if answers:
            open_.remove(answers[0])
        else:
            unanswered.append(nearest)
    for nearest in unanswered:
        if sources.meet(nearest, there) and not nearest <= only:
            return True
    # What is denied there in the first place must be said here, and undenied.
    return any(all(key in mine or _in(sources, key, mine) for key in nearest) for nearest, _ in open_)


def _in(sources: Sources, key: str, mine: frozenset[str]) -> bool:
    return any(key in sources.near(one) for one in mine)


def _swapped(sources: Sources, said: Wording, window: Sequence[Unit]) -> str:
    """Whether a name, a weekday or the like, or a word in the same place, stands there as another."""
    theirs = {t.place for unit in window for t in unit.said.tokens if t.place}
    kinds = {place[0] for place in theirs}
    for token in said.tokens:
        if token.place and token.place not in theirs and token.place[0] in kinds:
            return token.place[0]
    met = {other for key in said.keys for other in sources.near(key)}
    for at, token in enumerate(said.tokens):
        if token.stop or token.place:
            continue
        quality = max(
            (q for k, q in sources.near(token.key).items() if any(k in u.said.keys for u in window)), default=0
        )
        if quality >= 0.75:
            continue
        if token.name and not any(k in u.around for u in window for k in sources.near(token.key)):
            return "name"
        if any(_in_its_place(said.tokens, at, unit.said.tokens, met) for unit in window):
            return "word"
    return ""


def _replaced(sources: Sources, said: Wording, at: int, theirs: Wording) -> bool:
    """Whether between the same two words stands another: "serves lunch at" and "serves breakfast at"."""
    mine, tokens = said.tokens, theirs.tokens
    if mine[at].stop or mine[at].place or sources.among(mine[at].key, theirs.keys):
        return False
    return any(
        not tokens[there].stop
        and tokens[there - 1].key == mine[at - 1].key
        and tokens[there + 1].key == mine[at + 1].key
        and not sources.near(mine[at].key).get(tokens[there].key)
        and not _inflected(mine[at].word, tokens[there].word)
        for there in range(1, len(tokens) - 1)
    )


def _clauses(unit: Unit, part: int) -> tuple[set[str], set[str]]:
    """(words of a clause, words of those before it)."""
    tokens = [token for token in unit.said.tokens if not token.stop and token.part <= part]
    return {token.key for token in tokens if token.part == part}, {token.key for token in tokens if token.part < part}


def _in_its_place(mine: Sequence[Token], at: int, theirs: Sequence[Token], met: Container[str]) -> bool:
    """Whether another word stands where this one does: before the same noun, or after the same preposition.

    `met` are words that stand in both.
    """
    word = mine[at]
    for there, other in enumerate(theirs):
        if other.stop or other.place or other.key in met or _inflected(word.word, other.word):
            continue
        if _siblings(word.word, other.word):
            return True
        if _before_the_same(mine, at, theirs, there) or _after_the_same(mine, at, theirs, there):
            return True
    return False


def _inflected(one: str, other: str) -> bool:
    return one[:3] == other[:3] and abs(len(one) - len(other)) <= 2 and max(len(one), len(other)) <= 7


def _siblings(one: str, other: str) -> bool:
    """Compounds with the same last part: "Ordnungsamt" and "Steueramt"."""
    common = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        common += 1
    return common >= 4 and min(len(one), len(other)) - common >= 3 and common >= 0.25 * max(len(one), len(other))


def _before_the_same(mine: Sequence[Token], at: int, theirs: Sequence[Token], there: int) -> bool:
    return (
        at + 1 < len(mine)
        and there + 1 < len(theirs)
        and not mine[at + 1].stop
        and mine[at + 1].key == theirs[there + 1].key
        and mine[at].part == mine[at + 1].part
    )


def _after_the_same(mine: Sequence[Token], at: int, theirs: Sequence[Token], there: int) -> bool:
    """After the same preposition, and that after the same word."""
    one, other = _slot(mine, at), _slot(theirs, there)
    return one is not None and one == other


def _slot(tokens: Sequence[Token], at: int) -> tuple[str, str] | None:
    place = at - 1
    while place >= 0 and tokens[place].word in LITTLE and tokens[place].word not in SLOTS:
        place -= 1
    if place < 1 or tokens[place].word not in SLOTS or tokens[place].part != tokens[at].part:
        return None
    before = tokens[place - 1]
    return None if before.stop else (before.key, tokens[place].word)
