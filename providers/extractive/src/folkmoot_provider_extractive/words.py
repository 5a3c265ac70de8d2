"""What is known of each language, as data: its small words, its question words, what we say in it.

`small` are words too common to find anything by; the language of a question is guessed from them too.
`asks` maps a kind of answer to the words that ask for it, longest phrases written out.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple


class Language(NamedTuple):
    code: str
    stemmer: str
    small: frozenset[str]
    asks: dict[str, str]
    """Regular expressions, by kind of answer: `number`, `time`, `person`, `place`."""
    months: str
    extracts: str
    """Said before the sentences."""
    nothing: str
    """Said when the documents have nothing on it."""
    no_documents: str
    """Said when the assistant has no documents to answer from."""


def _small(words: str) -> frozenset[str]:
    return frozenset(words.split())


SWEDISH = Language(
    "sv",
    "swedish",
    _small(
        "och i att det som en på är av för med den till om inte har de ett han vi men var jag sig från vad så kan "
        "när man hur skulle ska under alla mycket också sedan sina efter då nu mig här där vid varför vem vilka "
        "vilken vilket något någon några sin du ni hon er ert era oss din ditt dina mitt min mina blir blev vara "
        "varit hade får fick gör göra gäller finns ta tar säger står måste bör eller upp ut in över mot utan "
        "dem denna detta dessa många länge mycket mer mest än bara kunna vill berätta förklara visa ge snälla tack"
    ),
    {
        "number": r"\bhur (många|mycket|stor|stort|stora|lång|långt|länge|hög|högt|ofta|gammal|dyrt)\b|\bkostar?\b"
        r"|\bantal|\bprocent\b|\bbelopp",
        "time": r"\bnär\b|\bdatum\b|\bvilket år\b|\bhur dags\b|\bvilken (dag|tid|månad)\b|\böppettid|\bdeadline\b",
        "person": r"\bvem\b|\bvilka personer\b|\bvems\b|\bkontaktperson",
        "place": r"\bvar\b(?! \w+t\b)|\bvarifrån\b|\bvart\b|\badress\b",
    },
    "januari februari mars april maj juni juli augusti september oktober november december",
    "Ingen språkmodell är ansluten, så här är de meningar i dina dokument som passar bäst:",
    "Jag hittade inget om det i dokumenten. (Ingen språkmodell är ansluten; jag letar bara efter meningar som "
    "passar frågan.)",
    "Ingen språkmodell är ansluten, och den här assistenten har inga dokument att svara ur. Be en administratör "
    "ansluta en språkmodell, eller ge assistenten en samling med dokument.",
)

NORWEGIAN = Language(
    "no",
    "norwegian",
    _small(
        "og i jeg det at en et den til er som på de med han av ikke der så var meg seg men ett har om vi min mitt ha "
        "hadde hun nå over da ved fra du ut sin dem oss opp man kan hans hvor eller hva skal selv sjøl her alle vil "
        "bli ble blir blitt kunne inn når være kom noen noe ville dere deres kun ja etter ned skulle denne for deg "
        "si sine sitt mot å meget hvorfor dette disse uten hvordan ingen din ditt blir samme hvilken hvilke hvilket "
        "slik mellom hvem mange mye må får få gjelder finnes gjør står sier fortell forklar vis gi takk "
        "hvert lenge ofte også gjøre bare"
    ),
    {
        "number": r"\bhvor (mange|mye|stor|stort|store|lang|langt|lenge|høy|høyt|ofte|gammel|dyrt)\b|\bkoster?\b"
        r"|\bantall|\bprosent\b|\bbeløp",
        "time": r"\bnår\b|\bdato\b|\bhvilket år\b|\bhvilken (dag|tid|måned)\b|\båpningstid|\bfrist",
        "person": r"\bhvem\b|\bkontaktperson",
        "place": r"\bhvor\b(?! (mange|mye|stor|stort|store|lang|langt|lenge|høy|høyt|ofte|gammel|dyrt)\b)|\badresse",
    },
    "januar februar mars april mai juni juli august september oktober november desember",
    "Ingen språkmodell er koblet til, så her er setningene i dokumentene dine som passer best:",
    "Jeg fant ingenting om det i dokumentene. (Ingen språkmodell er koblet til; jeg leter bare etter setninger som "
    "passer til spørsmålet.)",
    "Ingen språkmodell er koblet til, og denne assistenten har ingen dokumenter å svare ut fra. Be en administrator "
    "koble til en språkmodell, eller gi assistenten en samling med dokumenter.",
)

DANISH = Language(
    "da",
    "danish",
    _small(
        "og i jeg det at en den til er som på de med han af for ikke der var mig sig men et har om vi min havde ham "
        "hun nu over da fra du ud sin dem os op man hans hvor eller hvad skal selv her alle vil blev kunne ind når "
        "være dog noget nogen ville jo deres efter ned skulle denne end dette mit også under have dig anden hende "
        "mine alt meget sit sine vor mod disse hvis din nogle hos blive mange ad bliver hendes været jer sådan "
        "hvordan hvorfor hvem hvilken hvilke hvilket hvornår kan må får få gælder findes gør står siger fortæl "
        "forklar vis giv tak mellem uden længe ofte også gøre bare"
    ),
    {
        "number": r"\bhvor (mange|meget|stor|stort|store|lang|langt|længe|høj|højt|ofte|gammel|dyrt)\b|\bkoster?\b"
        r"|\bantal|\bprocent\b|\bbeløb",
        "time": r"\bhvornår\b|\bdato\b|\bhvilket år\b|\bhvilken (dag|tid|måned)\b|\båbningstid|\bfrist",
        "person": r"\bhvem\b|\bkontaktperson",
        "place": r"\bhvor\b(?! (mange|meget|stor|stort|store|lang|langt|længe|høj|højt|ofte|gammel|dyrt)\b)|\badresse",
    },
    "januar februar marts april maj juni juli august september oktober november december",
    "Ingen sprogmodel er tilsluttet, så her er de sætninger i dine dokumenter, der passer bedst:",
    "Jeg fandt intet om det i dokumenterne. (Ingen sprogmodel er tilsluttet; jeg leder kun efter sætninger, der "
    "passer til spørgsmålet.)",
    "Ingen sprogmodel er tilsluttet, og denne assistent har ingen dokumenter at svare ud fra. Bed en administrator "
    "om at tilslutte en sprogmodel, eller giv assistenten en samling med dokumenter.",
)

FINNISH = Language(
    "fi",
    "finnish",
    _small(
        "ja on ei se että joka oli olla mutta ovat hän niin kun kuin myös voi mitä mikä mitkä missä milloin kuka "
        "ketkä kuinka miten miksi mihin mistä millä minkä keitä ole olen olet olemme minä sinä me te he minun sinun "
        "meidän teidän heidän tämä tuo nämä nuo ne sen sitä siitä siinä siihen tai vai jos sekä eli eivät emme en et "
        "oliko onko voiko saa saako pitää täytyy kaikki moni monta paljon usein pitkä suuri kerro selitä näytä anna "
        "kiitos jo vain vielä kuten jotta koska ennen jälkeen kanssa ilman yli ali minulla onkohan voin mukaan"
    ),
    {
        "number": r"\bkuinka (monta|moni|paljon|suuri|pitkä|kauan|usein|vanha)\b|\bmontako\b|\bpaljonko\b"
        r"|\bmaksaa\b|\bmäärä|\bprosent",
        "time": r"\bmilloin\b|\bkoska\b|\bminä (päivänä|vuonna|vuosina)\b|\bmihin aikaan\b|\baukiol|\bpäivämäärä",
        "person": r"\bkuka\b|\bketkä\b|\bkenen\b|\bkenelle\b|\byhteyshenkilö",
        "place": r"\bmissä\b|\bmihin\b|\bmistä\b|\bosoite",
    },
    "tammikuu helmikuu maaliskuu huhtikuu toukokuu kesäkuu heinäkuu elokuu syyskuu lokakuu marraskuu joulukuu",
    "Kielimallia ei ole yhdistetty, joten tässä ovat asiakirjojesi parhaiten sopivat virkkeet:",
    "En löytänyt siitä mitään asiakirjoista. (Kielimallia ei ole yhdistetty; etsin vain kysymykseen sopivia "
    "virkkeitä.)",
    "Kielimallia ei ole yhdistetty, eikä tällä avustajalla ole asiakirjoja, joista vastata. Pyydä ylläpitäjää "
    "yhdistämään kielimalli tai anna avustajalle asiakirjakokoelma.",
)

GERMAN = Language(
    "de",
    "german",
    _small(
        "der die das und ist in zu den nicht von sie es ein mit sich auf für im dem des eine als auch an werden aus er "
        "hat dass wir wird bei sind einer um am noch wie haben einem über so zum war nur oder aber vor zur bis mehr "
        "durch man sein wurde sei hatte kann gegen vom können schon wenn habe seine ihre dann unter ihr soll ich "
        "eines was wer wo wann warum welche welcher welches welchen wieviel viele viel wen wem muss darf dürfen "
        "müssen gibt gilt gelten mir mich mein meine du dein deine uns unser euch ihnen ihm diese dieser dieses "
        "diesem zeige erkläre nenne sag bitte danke nach lange macht machen steht ohne alle"
    ),
    {
        "number": r"\bwie ?(viele?|hoch|groß|lange?|oft|alt|weit|teuer)\b|\bkoste[tn]\b|\banzahl|\bprozent\b|\bbetrag",
        "time": r"\bwann\b|\bdatum\b|\bin welchem jahr\b|\bwelche[rn]? (tag|zeit|monat)\b|\buhrzeit"
        r"|\böffnungszeit|\bfrist",
        "person": r"\bwer\b|\bwen\b|\bwem\b|\bwessen\b|\bansprechpartner",
        "place": r"\bwo\b|\bwoher\b|\bwohin\b|\badresse",
    },
    "januar februar märz april mai juni juli august september oktober november dezember",
    "Es ist kein Sprachmodell verbunden, daher hier die Sätze Ihrer Dokumente, die am besten passen:",
    "Dazu habe ich in den Dokumenten nichts gefunden. (Es ist kein Sprachmodell verbunden; ich suche nur nach Sätzen, "
    "die zur Frage passen.)",
    "Es ist kein Sprachmodell verbunden, und dieser Assistent hat keine Dokumente, aus denen er antworten könnte. "
    "Bitten Sie einen Administrator, ein Sprachmodell zu verbinden, oder geben Sie dem Assistenten eine Sammlung "
    "mit Dokumenten.",
)

ENGLISH = Language(
    "en",
    "english",
    _small(
        "the of and to in a is that it was for on are as with his they be at this have from or one had by not but what "
        "all were when we there can an your which their said if do will each about how up out them then she many some "
        "so these would other into has her him see could no than been its who now my over did down only may after "
        "where most i you he me our us whom whose why does done am being should must shall might because while during "
        "before between under again both any few more such own same too very just much long often tell explain show "
        "give please thanks thank find get let say says mean means apply applies happen happens"
    ),
    {
        "number": r"\bhow (many|much|long|high|large|big|far|often|old|tall|expensive)\b|\bcosts?\b|\bnumber of\b"
        r"|\bpercent|\bamount\b",
        "time": r"\bwhen\b|\bwhat (time|date|day|year|month)\b|\bwhich (year|day|month|date)\b|\bdeadline\b"
        r"|\bopening hours\b|\bhow long\b",
        "person": r"\bwho(m|se)?\b|\bcontact person\b",
        "place": r"\bwhere\b|\baddress\b",
    },
    "january february march april may june july august september october november december",
    "No language model is connected, so these are the sentences of your documents that fit best:",
    "I found nothing about that in the documents. (No language model is connected; I only look for sentences that "
    "fit the question.)",
    "No language model is connected, and this assistant has no documents to answer from. Ask an administrator to "
    "connect a language model, or give the assistant a collection of documents.",
)

LANGUAGES = (ENGLISH, SWEDISH, NORWEGIAN, DANISH, FINNISH, GERMAN)

COMPOUNDING = frozenset({"sv", "no", "da", "fi", "de"})
"""Languages that write compounds as one word: `semesterdagar` is also about `semester`."""

WORD = re.compile(r"\w+(?:[-'’]\w+)*")

_LETTERS = (("å", SWEDISH, 0.3), ("ä", SWEDISH, 0.2), ("ä", FINNISH, 0.1), ("ß", GERMAN, 1.0), ("ü", GERMAN, 0.5))
_MORE_LETTERS = (("æ", DANISH, 0.3), ("ø", NORWEGIAN, 0.3), ("æ", NORWEGIAN, 0.3), ("ø", DANISH, 0.3))


@cache
def _weights() -> dict[str, list[tuple[int, float]]]:
    """For each small word, the languages that have it; a word that only one has says most."""
    weights: dict[str, list[tuple[int, float]]] = {}
    for word in {word for language in LANGUAGES for word in language.small}:
        places = [place for place, language in enumerate(LANGUAGES) if word in language.small]
        weights[word] = [(place, 1 / len(places)) for place in places]
    return weights


def detect(text: str) -> Language | None:
    """The language whose small words and letters `text` has most of; None if it has none of any."""
    scores = [0.0] * len(LANGUAGES)
    weights = _weights()
    lowered = text.lower()
    for word in WORD.findall(lowered):
        for place, weight in weights.get(word, ()):
            scores[place] += weight
    for letter, language, weight in (*_LETTERS, *_MORE_LETTERS):
        if letter in lowered:
            scores[LANGUAGES.index(language)] += weight
    best = max(scores)
    return LANGUAGES[scores.index(best)] if best > 0 else None
