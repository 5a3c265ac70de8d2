"""Thanks, greetings and the like, which no document answers. Pure.

A message is small talk only if every word of it is accounted for here: one word that is not makes it a question, since
a search too many costs little and a question that is passed over costs the answer. Words that also mean something else
("tak" is Danish for thanks and Swedish for a roof) are left out where they stand alone.
"""

from __future__ import annotations

import re
from functools import cache

_WORD = re.compile(r"\w+(?:['’]\w+)*")
MOST_WORDS = 14
LONGEST = 300
"""Characters."""

_ALWAYS = """
thanks|thank you|thankyou|thx|ty|many thanks|cheers|much appreciated|thanks a lot|thanks a million|i appreciate it
tack|tackar|tack så mycket|tack så jättemycket|stort tack|tusen tack|tack ska du ha|tackar så mycket|många tack
danke|dankeschön|danke schön|danke sehr|danke dir|danke ihnen|vielen dank|vielen lieben dank|besten dank|herzlichen dank
tausend dank|ich danke ihnen|ich danke dir|merci vielmals
mange tak|tusind tak|tak for hjælpen|tak skal du have|tak for det|takk|tusen takk|mange takk|takk skal du ha
takk for hjelpen|kiitos|kiitti|paljon kiitoksia|kiitoksia|suuret kiitokset|kiitos paljon|kiitos avusta
merci|merci beaucoup|merci bien|mille mercis|je vous remercie|gracias|muchas gracias|mil gracias|te lo agradezco
bedankt|dank je|dank je wel|dank u|dank u wel|grazie|grazie mille|obrigado|obrigada|muito obrigado|muito obrigada
hi|hello|hi there|hello there|hey|good morning|good afternoon|good evening|good day|greetings|howdy
hej|hejsan|tjena|tja|tjenare|hallå|god morgon|godmorgon|god kväll|god dag|goddag|god eftermiddag|hej hej|hejhej
hallo|guten tag|guten morgen|guten abend|grüß gott|grüezi|moin|moin moin|servus|grüß dich|schönen guten tag
goddag|god aften|halløj|heisann|god kveld|hei|hei hei|heippa|moi|moikka|terve|hyvää päivää|hyvää huomenta
bonjour|bonsoir|salut|coucou|hola|buenos días|buenas tardes|buenas noches|buenas|goedemorgen|goedemiddag|dag|ciao
bye|goodbye|good bye|bye bye|see you|see you later|good night|have a nice day|have a good day|have a great day
have a nice weekend|have a good one|take care
hej då|hejdå|adjö|vi hörs|vi ses|ha det bra|ha en bra dag|ha en fin dag|trevlig helg|god natt|ha det så bra
tschüss|tschüß|auf wiedersehen|bis bald|bis später|schönen tag noch|schönen tag|gute nacht|schönes wochenende
einen schönen tag|einen schönen tag noch|mach's gut|machs gut
farvel|hav en god dag|ha en god dag|ha det|ha det godt|näkemiin|hei hei|hyvää päivänjatkoa|hyvää yötä
au revoir|bonne journée|bonne soirée|à bientôt|bonne nuit|adiós|adios|hasta luego|hasta pronto|que tengas un buen día
tot ziens|arrivederci|tchau|até logo
"""
_ASKING = """
how are you|how are you doing|how are you today|how is it going|how's it going|what's up|are you there|you there
hur mår du|hur är läget|läget|hur går det|hur står det till|är du där
wie geht's|wie gehts|wie geht es dir|wie geht es ihnen|bist du da|sind sie da
hvordan går det|hvordan har du det|mitä kuuluu|ça va|comment ça va|comment allez vous|qué tal|cómo estás|cómo está
hoe gaat het|come stai
"""
"""Those that may end with a question mark."""
_AFTER_AN_ANSWER = """
ok|okay|okej|okey|oki|k|alright|all right|great|perfect|excellent|wonderful|awesome|nice|cool|super|brilliant|lovely
good|very good|good to know|that's good|that's fine|that is fine|that's great|that is great|sounds good|well done
got it|i got it|i see|i understand|understood|makes sense|that makes sense|that helps|that helped|that was helpful
that is helpful|very helpful|that's all|that is all|that was all|that will be all|nothing else|nothing more
no more questions|i have no more questions|no further questions|noted|fair enough|wow|haha|sorry|never mind|nevermind
bra|jättebra|toppen|perfekt|utmärkt|kanon|kanonbra|härligt|snyggt|fint|suveränt|förstår|jag förstår|jag fattar
då förstår jag|då vet jag|bra att veta|det var allt|det var bra|det var bra så|det räcker|inget mer|inget annat
inga fler frågor|jag har inga fler frågor|det hjälper|det var till hjälp|snällt|vad bra|så bra|det låter bra|förlåt
strunt i det
gut|sehr gut|alles klar|klar|prima|perfekt|toll|klasse|wunderbar|verstehe|ich verstehe|verstanden|das hilft
das hilft mir|das hat geholfen|das war alles|das ist alles|das wär's|das wars|das war's|keine weiteren fragen
ich habe keine weiteren fragen|gut zu wissen|in ordnung|passt|das passt|sehr hilfreich|entschuldigung
schon gut|nichts weiter
super|fint|perfekt|det var alt|det var det hele|godt at vide|jeg forstår|forstået|flot|supert|den er god|det var alt
det hjelper|jeg skjønner|skjønner|selvfølgelig|flott|bra å vite|forstått|ikke noe mer
hyvä|selvä|selvä juttu|ymmärrän|hienoa|mahtavaa|täydellistä|siinä kaikki|ei muuta|hyvä tietää|okei
d'accord|parfait|très bien|c'est bon|c'est tout|je comprends|compris|génial|super|bon à savoir|entendu|ça marche
vale|perfecto|muy bien|entendido|entiendo|genial|eso es todo|nada más|de acuerdo|estupendo|bueno saberlo|bien
oké|prima|goed|begrepen|dat is alles|perfetto|capito|va bene|entendi|perfeito
"""
"""What somebody says to an answer; without one before it, it may be a word to look up."""
_ASSENT = """
yes|yes please|yeah|yep|yup|sure|sure thing|of course|please|please do|go ahead|go on|do it|absolutely|definitely
ok|okay|okej|okey|oki|alright|sounds good|that's fine|that would be great|that would be nice|that'd be great
ja|jo|japp|ja tack|ja gärna|gärna|gärna det|visst|absolut|självklart|kör|gör det|snälla|det vore bra|det låter bra
ja bitte|bitte|gern|gerne|ja gern|ja gerne|sicher|natürlich|klar|mach das|ja klar|unbedingt
ja tak|gerne|ja takk|selvfølgelig|klart|joo|kyllä|kyllä kiitos|mielellään|totta kai
oui|oui merci|oui s'il vous plaît|volontiers|bien sûr|d'accord|s'il te plaît|s'il vous plaît
sí|si|sí por favor|por favor|claro|claro que sí|vale|de acuerdo
ja graag|graag|sì|sì grazie|sim|sim por favor
"""
"""What takes up an offer; if nothing was offered, it says no more than thanks."""
_REFUSAL = """
no|nope|nah|not now|not really|no need|no thanks|no thank you|nej|nä|näe|nej tack|inte nu|det behövs inte
nein|nein danke|nö|nicht nötig|nej tak|nei|nei takk|ei|ei kiitos|non|non merci|no gracias|nee|nee dank je|não
"""
_FILLING = """
so|so much|very|very much|a lot|again|then|and|for|for now|the|your|you|all|all your|help|helping|me|my|that|this|it|now
really|quick|fast|clear|good|great|kind|answer|answers|reply|information|info|explanation|explaining|time|indeed|well|oh
in advance|everyone|everybody|folkmoot|just|assistant
så|så mycket|mycket|jättemycket|för|hjälpen|din|ditt|svaret|svar|snabba|snabbt|informationen|infon|tydliga|förklaringen
igen|då|alla|det|och|på förhand|ändå|nu|bra|snälla|du|er|ni
für|die|den|das|ihre|ihren|deine|deinen|hilfe|antwort|schnelle|auskunft|auskünfte|information|informationen|erklärung
sehr|nochmal|nochmals|noch einmal|dann|und|im voraus|dir|ihnen|euch|zusammen|vielmals|ja|also|na|ach|schnell|gute
det|hjælpen|hjelpen|svaret|svar|hurtige|raske|igen|igjen|og|så|meget|mye|din|dit|ditt
avusta|vastauksesta|tiedosta|paljon|ja|oikein|nopeasta|sitten|taas
pour|votre|ton|ta|aide|réponse|l'aide|beaucoup|bien|et|la|alors|encore|tout|à vous|à toi|monsieur|madame
por|tu|su|la|ayuda|respuesta|mucho|muy|y|todo|de nuevo|a ti|a usted|entonces
"""
"""What may stand beside such a phrase, and is small talk only there."""


def _read(text: str) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(words_of(phrase)) for line in text.split("\n") for phrase in line.split("|") if phrase)


def words_of(text: str) -> list[str]:
    """The words of a text, in small letters."""
    return [word.replace("’", "'") for word in _WORD.findall(text.casefold())]


ALWAYS, ASKING, AFTER, ASSENT, REFUSAL, FILLING = map(
    _read, (_ALWAYS, _ASKING, _AFTER_AN_ANSWER, _ASSENT, _REFUSAL, _FILLING)
)
SAID = ALWAYS | ASKING | AFTER | ASSENT | REFUSAL
ALL = SAID | FILLING


def is_small_talk(text: str, *, answered: bool) -> bool:
    """Whether a message asks nothing that a document could answer; `answered`: it follows an answer."""
    if len(text) > LONGEST:
        return False
    words = words_of(text)
    asks = "?" in text or "？" in text
    if not words:
        return not asks
    if len(words) > MOST_WORDS:
        return False
    if asks:
        return _made_of(words, ALL, ASKING)
    # "No, thanks" asks nothing even where no answer stands before it; "no" alone may.
    return _made_of(words, ALL, SAID if answered else ALWAYS | ASKING)


def is_assent(text: str) -> bool:
    """Whether a message only takes up what was offered, as "yes please" does."""
    words = words_of(text[:LONGEST])
    return len(text) <= LONGEST and 0 < len(words) <= MOST_WORDS and _made_of(words, ASSENT | ALWAYS, ASSENT)


def _made_of(words: list[str], pieces: frozenset[tuple[str, ...]], needed: frozenset[tuple[str, ...]]) -> bool:
    """Whether the words are nothing but such pieces, one of them needed."""

    @cache
    def rest(at: int, had: bool) -> bool:
        if at == len(words):
            return had
        for end in range(at + 1, len(words) + 1):
            piece = tuple(words[at:end])
            if piece in pieces and rest(end, had or piece in needed):
                return True
        return False

    return rest(0, False)
