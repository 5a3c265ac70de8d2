"""Control words: which begin something of its own, which are signs, and the state that the others change."""

from __future__ import annotations

from folkmoot_parser_rtf.flow import Flow

ASIDE = frozenset(
    {"footnote", "annotation", "shptxt", "dptxbxtext"}
    | {f"{kind}{pages}" for kind in ("header", "footer") for pages in ("", "f", "l", "r")}
)
"""What stands outside the text and has paragraphs of its own."""

LABELS = frozenset({"listtext", "pntext"})
CAPTURED = LABELS | frozenset({"title", "atnauthor", "sn", "sv"})
"""Short texts that say something about what is around them."""

_SKIPPED = """
colortbl pict objdata objclass objname objalias objsect objtime fldinst fldtype datafield formfield
ffname ffdeftext ffformat ffhelptext ffstattext ffentrymcr ffexitmcr ffl listtable listoverridetable listpicture
rsidtbl revtbl generator bkmkstart bkmkend atrfstart atrfend atnref atnid atntime atndate atnicn atnparent
xe tc tcn rxe txe themedata colorschememapping datastore latentstyles xmlnstbl xmlopen xmlclose
pgptbl filetbl template private userprops docvar ftnsep ftnsepc ftncn aftnsep aftnsepc aftncn
nonshppict shprslt falt fontemb fontfile panose background nonesttables
pn pntxta pntxtb pnseclvl levelnumbers leveltext mmathPict mctrlPr mrPr margPr mmathPr
passwordhash protusertbl printim keycode nextfile wgrffmtfilter htmltag mhtmltag
author operator subject company category keywords comment doccomm manager hlinkbase creatim revtim buptim
"""
SKIPPED = frozenset(_SKIPPED.split())
"""What is no text, or is the same text again."""

OPEN = frozenset({"shpinst", "do", "moMath", "moMathPara", "shppict", "picprop", "nesttableprops"})
"""Groups that newer programs added, marked to be passed over by those that do not know them; we look inside."""

TABLES = frozenset({"fonttbl", "stylesheet"})
DESTINATIONS = ASIDE | CAPTURED | SKIPPED | TABLES | {"upr", "ud", "object", "result"}
"""All words that say what their group is for."""
FORMATS = frozenset(["f", "plain", "pard", "v", "deleted", "s", "outlinelevel", "intbl", "itap", "ilvl", "pnlvl"])

SIGNS = {
    "line": "\n",
    "lbr": "\n",
    "column": "\n",
    "tab": "\t",
    "emdash": "\u2014",
    "endash": "\u2013",
    "emspace": " ",
    "enspace": " ",
    "qmspace": " ",
    "bullet": "\u2022",
    "lquote": "\u2018",
    "rquote": "\u2019",
    "ldblquote": "\u201c",
    "rdblquote": "\u201d",
    "zwj": "\u200d",
    "zwnj": "\u200c",
}


class State:
    """What a group may change and its end gives back."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.capture: list[str] | None = None
        self.target = ""
        self.skipped = self.before_upr = self.before_object = self.in_picture = self.starred = False
        self.unicode_length = 1
        self.font: int | None = None
        self.hidden = self.deleted = False
        self.plain()

    def plain(self) -> None:
        """A paragraph without any formatting."""
        self.style = self.depth = self.table_level = 0
        self.outline: int | None = None
        self.in_table = False

    def opened(self) -> State:
        """The state of a group that begins inside this one."""
        # A file has a million groups; this is the quickest way to copy an object.
        new = State.__new__(State)
        new.__dict__.update(self.__dict__)
        new.starred = False
        return new

    def formatted(self, word: str, number: int | None) -> bool:
        """Take in a word that formats; False if it does not."""
        if word not in FORMATS:
            return False
        if word == "f":
            self.font = number
        elif word == "plain":
            self.hidden, self.font = False, None
        elif word == "pard":
            self.plain()
        elif word == "v":
            self.hidden = number != 0
        elif word == "deleted":
            self.deleted = number != 0
        elif word == "s":
            self.style = number or 0
        elif word == "outlinelevel":
            self.outline = number
        elif word == "intbl":
            self.in_table = True
        elif word == "itap":
            self.table_level = max(0, number or 0)
            self.in_table = self.table_level > 0
        else:
            self.depth = max(0, min(number or 0, 8))
        return True
