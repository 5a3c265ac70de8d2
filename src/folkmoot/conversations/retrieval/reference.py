"""The words by which a question shows that it goes on from what was said before, by language. Data, and no more.

English, Swedish and German are known best, and measured by `benchmarks/followups.py`; Danish, Norwegian, Finnish,
French and Spanish by their commonest words. In any other language a question is taken to stand alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

LANGUAGES = ("en", "sv", "de", "da", "no", "fi", "fr", "es")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(phrase.split()) for phrase in " ".join(text.split()).split("|"))


GENERAL = _words("example examples info information details detail ok okay etc pdf")


@dataclass(frozen=True)
class Grammar:
    """What is known of one language."""

    links: frozenset[tuple[str, ...]] = frozenset()
    """Beginnings of a continuation."""
    remarks: frozenset[tuple[str, ...]] = frozenset()
    """What is asked of the answer before, as "in simpler words"."""
    pointing: frozenset[str] = frozenset()
    """Pronouns and the like."""
    always: frozenset[str] = frozenset()
    """Those of them that never refer to what stands in the same question."""
    articles: frozenset[str] = frozenset()
    """Those that are also articles."""
    adjective_ends: tuple[str, ...] = ()
    """How what follows ends, if such a word is an article, where nouns are not written with capitals."""
    ending: frozenset[str] = frozenset()
    """Those that do so only at the end, as Swedish "där", which else begins a clause."""
    counting: frozenset[str] = frozenset()
    """Those that are also numbers."""
    relative: frozenset[str] = frozenset()
    """What makes "those" the beginning of a description: "those who"."""
    empty: frozenset[str] = frozenset()
    """Those that may stand for nothing, as in "is it allowed to park here"."""
    empty_with: frozenset[str] = frozenset()
    """Words somewhere after them, by which they do."""
    empty_beside: frozenset[str] = frozenset()
    """Those that stand for nothing beside some verbs, as in "is there a fee"."""
    verbs_beside: frozenset[str] = frozenset()
    polite: frozenset[str] = frozenset()
    """Those that with a capital letter are the person who is asked."""
    times: frozenset[str] = frozenset()
    """What makes "this" a time: week, year."""
    prepositions: frozenset[str] = frozenset()
    determiners: frozenset[str] = frozenset()
    openers: frozenset[str] = frozenset()
    """Verbs that a question without question word begins with."""
    modals: frozenset[str] = frozenset()
    verbs: frozenset[str] = frozenset()
    """Common verbs and question words that say nothing of a subject, and are no stop words."""
    facets: frozenset[str] = frozenset()
    """Nouns and adjectives that are always of something: "the fee" of what?"""
    capitals: bool = False
    """Whether nouns have them."""

    def is_empty(self, small: Sequence[str], at: int) -> bool:
        """Whether the word at `at` stands for nothing."""
        word, beside = small[at], (*small[max(at - 1, 0) : at], *small[at + 1 : at + 2])
        if word in self.empty_beside and any(other in self.verbs_beside for other in beside):
            return True
        return word in self.empty and any(other in self.empty_with for other in small[at + 1 :])


_ENGLISH = Grammar(
    links=_phrases(
        "and|but|or|also|so|then|plus|what about|how about|what if|how so|how come"
        "|ok and|ok but|okay and|okay but|thanks and|thank you and|thanks but|yes and|yes but|no but|in that case"
        "|who else|what else|where else|how else|anything else|is that all|same for|even if|even when|and what"
    ),
    remarks=_phrases(
        "in simpler words|in other words|more briefly|shorter please|make it shorter|in more detail|more details"
        "|tell me more|say more|go on|your answer|you said|you say|you mean|you mentioned|mentioned above|as a list"
        "|as a table|explain further|please elaborate|elaborate|summarise it|translate it|the first one"
        "|the second one"
        "|the last one|the other one|what does this mean|are you sure|can you repeat|say again"
    ),
    pointing=_words(
        "it its it's they them their theirs this that that's these those there he she him her his hers one"
        " ones such"
        " former latter both either neither otherwise instead thereafter mine"
    ),
    always=_words("these those former latter otherwise instead such that's there one ones mine"),
    counting=_words("one"),
    relative=_words("who which whose that"),
    empty=_words("it it's that"),
    empty_with=_words("to that"),
    empty_beside=_words("there"),
    verbs_beside=_words("is are was were be isn't aren't exists exist"),
    times=_words("year month week summer winter spring autumn morning evening afternoon weekend time day"),
    prepositions=_words("for of about with without to on in from than by at under after before like against"),
    determiners=_words("a an the my our your any some each every no his her"),
    openers=_words("can may must do does did are is should will would could have has if"),
    verbs=_words(
        "need needs want let get gets got go goes going take takes took give gives know tell say says mean"
        " means apply"
        " applies happen happens work works cost costs pay pays decide decides much many long high big large"
        " far often"
        " soon old early late allowed required permitted possible necessary must may might please long there"
        " like make"
        " makes use used ask find see come comes keep else exactly actually also still already yet always ever long"
        " expensive cheap valid enough shall would could it's that's what's who's i'm don't doesn't can't isn't"
    ),
    facets=_words(
        "permit permits permission licence fee fees form forms application applications deadline deadlines"
        " exception"
        " exceptions rule rules penalty penalties fine price prices document documents requirement"
        " requirements size"
        " height width length limit limits maximum minimum reason reasons alternative alternatives difference"
        " differences"
        " consequence consequences time times day days week weeks month months year years date answer"
        " question thing"
        " things people person someone everyone anyone somebody amount part parts case cases step steps extra"
        " different"
        " more less later earlier next first second third last same other others longer higher bigger lower"
        " responsible"
        " night winter summer weekend weekends evening tomorrow today online contact charge charges rate cost"
        " costs number copy page source sources"
    ),
)
_SWEDISH = Grammar(
    links=_phrases(
        "och|men|eller|även|också|samt|hur är det med|hur blir det med|vad gäller för|vad gäller i|vad gäller då"
        "|vad händer då|hur så|hur då|när då|var då|vem då|gäller samma"
        "|är det samma|samma sak|i så fall|i sådana fall|ok och|okej och|ok men|okej men|tack och|tack men"
        "|ja men|nej men"
        "|annars|vad annars|vad mer|något annat|något mer|vilka då|vilken då|hur länge då|även om|fast|då"
    ),
    remarks=_phrases(
        "med enklare ord|enklare ord|med andra ord|kortare tack|kortfattat|mer detaljer|berätta mer|utveckla"
        "|ditt svar"
        "|du sa|du skrev|du menar|du nämnde|nämndes ovan|som en lista|som lista|som tabell|i punktform|förklara mer"
        "|sammanfatta det|översätt det|den första|den andra|den sista|vad betyder det|är du säker|säg om"
    ),
    pointing=_words(
        "det den de dem dom dess deras denna detta dessa han hon honom henne hans hennes där dit samma sådan sådant"
        " sådana båda bägge istället annars därefter därför dessutom"
    ),
    always=_words("dess denna detta dessa sådan sådant sådana bägge istället annars samma därefter"),
    articles=_words("det den de"),
    adjective_ends=("a", "e"),
    ending=_words("där dit"),
    relative=_words("som"),
    empty=_words("det"),
    empty_with=_words("att"),
    empty_beside=_words("det"),
    verbs_beside=_words("finns krävs behövs brukar saknas regnar snöar"),
    times=_words("året veckan månaden sommaren vintern våren hösten året"),
    prepositions=_words("för om med av till på i från än hos åt under efter före mot kring utan"),
    determiners=_words("en ett min mitt mina vår vårt våra någon något några varje ingen inget alla din ditt dina"),
    openers=_words("får kan måste ska bör har är finns behöver gäller vill om räknas blir kommer"),
    modals=_words("får kan måste ska bör vill kunde skulle borde"),
    verbs=_words(
        "får får kan måste ska bör behöver behövs krävs kostar gäller finns händer betyder menas tar går gör"
        " göra ges"
        " ger ta gå få vill vet säger säga länge lång långt långa hög högt höga stor stort stora mycket många"
        " ofta sent"
        " tidigt snart tillåtet tillåten tillåtna möjligt nödvändigt beslutar bestämmer betalar betala söker"
        " söka hur"
        " alltid också även bara redan ännu kvar egentligen exakt snälla kom komma kommer hitta hittar dyr"
        " dyrt billigt"
        " giltigt giltig fler flera mer mindre först sist någonsin ens jag mig vi oss man blir bli vara vore borde"
        " gälla använda använder ske sker lämnar lämna görs"
    ),
    facets=_words(
        "bygglov bygglovet lov lovet tillstånd tillståndet avgift avgiften avgifter blankett blanketten"
        " blanketter ansökan"
        " undantag undantaget regel regeln regler reglerna straff böter pris priset priser handling"
        " handlingar dokument"
        " krav kraven storlek höjd höjden bredd längd gräns gränsen gränser tid tiden tider skäl skälet alternativ"
        " skillnad skillnaden följd följder konsekvens konsekvenser dag dagar vecka veckor månad månader år"
        " datum svar"
        " svaret fråga frågan sak saker person personer någon belopp del delar fall steg extra annan annat"
        " andra olika"
        " senare tidigare nästa första sista längre högre större lägre ansvarig ansvarar natt natten vinter vintern"
        " sommar sommaren helg helgen helger kväll kvällen kvällar imorgon idag nätet kontakt nummer kopia"
        " sida källa"
        " källor folk kostnad kostnaden taxa taxan mest minst högst maximalt särskilt anmälan beslut beslutet"
        " barn vuxna"
    ),
)
_GERMAN = Grammar(
    links=_phrases(
        "und|aber|oder|auch|also|dann|sowie|was ist mit|wie ist es mit|wie sieht es mit|wie steht es mit"
        "|wie verhält es"
        "|gilt dasselbe|gilt das gleiche|wie das"
        "|wie lange dann|in dem fall|in diesem fall|ok und|okay und|ok aber|danke und|danke aber"
        "|ja aber|nein aber|sonst|was sonst|wer sonst|was noch|noch etwas|selbst wenn|auch wenn|wenn nicht"
        "|falls nicht"
    ),
    remarks=_phrases(
        "in einfachen worten|mit einfachen worten|einfacher bitte|mit anderen worten|kürzer bitte|bitte kürzer"
        "|genauer bitte"
        "|bitte genauer|etwas genauer|mehr details|erzähl mehr|erzählen sie mehr|deine antwort|ihre antwort"
        "|du sagst"
        "|sie sagen|meinst du|meinen sie|oben genannt|als liste|als tabelle|in stichpunkten|erklär das|erkläre das"
        "|erklären sie das|fass das zusammen|übersetze das|das erste|das zweite|was bedeutet das|bist du sicher"
        "|sind sie sicher"
    ),
    pointing=_words(
        "er sie es ihn ihm ihr ihnen ihre ihren ihrem ihrer das die der den dem dies diese dieser dieses"
        " diesem diesen"
        " dort dorthin da hin hinein dazu dafür damit dabei davon daran darauf darüber dagegen danach dessen deren"
        " dasselbe dieselbe"
        " derselbe denselben solche solchen solcher solches beide beides beiden stattdessen ansonsten jene"
        " jenes welche"
    )
    - {"welche"},
    always=_words(
        "dessen dasselbe dieselbe derselbe denselben stattdessen ansonsten jene jenes dort dorthin dafür"
        " davon daran"
        " darauf darüber dagegen dazu dabei"
    ),
    ending=_words("hin hinein da"),
    articles=_words("das die der den dem ihr ihre ihren ihrem ihrer"),
    empty=_words("es das da damit dafür davon daran darauf darüber dagegen dazu dabei"),
    empty_with=_words("zu dass"),
    empty_beside=_words("es"),
    verbs_beside=_words("gibt gilt regnet schneit geht"),
    polite=_words("sie ihr ihnen ihre ihren ihrem ihrer"),
    times=_words("jahr jahres woche monat monats sommer winter frühjahr herbst wochenende morgen abend tag"),
    prepositions=_words("für von mit zu auf in aus als bei unter nach vor gegen um über an ohne neben wegen"),
    determiners=_words(
        "ein eine einen einem einer eines mein meine meinen meinem meiner unser unsere jeder jede jedes"
    ),
    openers=_words(
        "darf dürfen kann können muss müssen ist sind soll sollen hat haben gibt wird werden braucht wenn falls"
    ),
    modals=_words("darf dürfen kann können muss müssen soll sollen will"),
    verbs=_words(
        "darf dürfen kann können muss müssen soll sollen brauche brauchen braucht brauch kostet kosten gilt"
        " gelten gibt"
        " geht passiert bedeutet heißt dauert gehört nimmt bekomme bekommt bekommen finde finden weiß sagt"
        " sage sagen"
        " lange lang hoch hohe groß große weit oft spät früh bald erlaubt verboten möglich nötig notwendig"
        " entscheidet"
        " zahlt zahlen bezahlen beantrage beantragen beantragt stelle stellen wie wo wann wer warum wieso"
        " wohin woher"
        " immer auch nur schon noch eigentlich genau bitte teuer billig gültig viele viel mehr weniger zuerst"
        " ich wir"
        " man mich uns sein werden machen mache macht tun tue nutzen verwenden benutzen kommt kommen liegt"
        " steht stehen"
        " muß hätte gerne möchte"
    ),
    facets=_words(
        "genehmigung baugenehmigung erlaubnis gebühr gebühren formular formulare antrag anträge frist fristen"
        " ausnahme"
        " ausnahmen regel regeln strafe strafen bußgeld preis preise unterlage unterlagen dokument dokumente"
        " anforderung"
        " anforderungen größe höhe breite länge grenze grenzen zeit zeiten grund gründe alternative alternativen"
        " unterschied unterschiede folge folgen tag tage tagen woche wochen monat monate monaten jahr jahre"
        " jahren datum"
        " antwort frage sache sachen person personen leute jemand betrag teil teile fall fälle schritt"
        " schritte extra"
        " andere anderes anderen später früher nächste nächsten erste ersten letzte letzten länger höher größer"
        " niedriger"
        " zuständig nacht nachts winter sommer wochenende abend abends morgen heute online kontakt nummer"
        " kopie seite"
        " quelle quellen beitrag beiträge kosten betrag mindestens höchstens maximal besonders anmeldung"
        " bescheid kinder erwachsene voraussetzungen"
    ),
    capitals=True,
)
_DANISH = Grammar(
    links=_phrases("og|men|eller|også|hvad med|hvad så med|hvordan med|ellers|i så fald"),
    pointing=_words("det den de dem dets dens deres denne dette disse han hun ham hende hans hendes dertil"
                    " samme sådan"),
    always=_words("dets dens denne dette disse samme sådan"),
    articles=_words("det den de"),
    adjective_ends=("e",),
    empty=_words("det"),
    empty_beside=_words("det"),
    verbs_beside=_words("findes kræves regner"),
    empty_with=_words("at"),
    prepositions=_words("for om med af til på i fra end hos under efter før mod uden"),
    determiners=_words("en et min mit mine vores nogen noget hver alle din dit dine"),
    openers=_words("må kan skal bør har er findes gælder hvis når"),
    modals=_words("må kan skal bør vil"),
    verbs=_words("må kan skal bør kræver koster gælder findes sker betyder tager går gør får hvordan hvor"
                 " hvornår længe"
                 " høj højt stor stort meget mange ofte tilladt muligt betaler bestemmer"),
    facets=_words("tilladelse gebyr ansøgning frist undtagelse undtagelser regel regler straf pris krav tid vinter"
                  " vinteren sommer sommeren weekend dag dage måned måneder år blanket størrelse højde"),
)  # fmt: skip
_NORWEGIAN = Grammar(
    links=_phrases("og|men|eller|også|hva med|hva om|hvordan med|ellers|i så fall"),
    pointing=_words("det den de dem dets dens deres denne dette disse han hun ham henne hans hennes dit samme"
                    " slik"),
    always=_words("dets dens denne dette disse samme slik"),
    articles=_words("det den de"),
    adjective_ends=("e",),
    empty=_words("det"),
    empty_beside=_words("det"),
    verbs_beside=_words("finnes kreves regner"),
    empty_with=_words("å at"),
    prepositions=_words("for om med av til på i fra enn hos under etter før mot uten"),
    determiners=_words("en ei et min mitt mine vår vårt noen noe hver alle din ditt dine"),
    openers=_words("må kan skal bør har er finnes gjelder hvis når får"),
    modals=_words("må kan skal bør vil får"),
    verbs=_words("må kan skal bør krever koster gjelder finnes skjer betyr tar går gjør får hvordan hvor når lenge"
                 " høy høyt stor stort mye mange ofte tillatt mulig betaler bestemmer"),
    facets=_words("tillatelse gebyr søknad frist unntak regel regler straff pris krav tid vinter vinteren sommer"
                  " sommeren helg helgen dag dager måned måneder år skjema størrelse høyde"),
)  # fmt: skip
_FINNISH = Grammar(
    links=_phrases("entä|entäs|mutta|ja|tai|myös|päteekö sama|koskeeko se|muuten|entä jos"),
    pointing=_words("se sen sitä siitä siihen sille sillä ne niitä niiden niille tämä tämän tätä nämä hän"
                    " hänen häntä"
                    " siellä sinne tuo tuon sama saman"),
    verbs=_words("saa saako voi voiko pitää pitääkö täytyy tarvitaanko tarvitsee maksaa maksaako kestää"
                 " kuinka paljon"
                 " milloin missä kuka mikä mitä kauan korkea iso usein sallittu mahdollista"),
    facets=_words("lupa lupaa maksu hakemus lomake poikkeus sääntö säännöt hinta aika talvella kesällä"
                  " viikonloppuna"),
)  # fmt: skip
_FRENCH = Grammar(
    links=_phrases("et|mais|et pour|qu'en est-il|aussi|sinon|dans ce cas|et si|même si|et en"),
    pointing=_words("ça cela ceci celui celle ceux celles elle elles eux lui leur leurs ils il ce cet cette ces"),
    always=_words("ça cela ceci cet cette ces"),
    empty=_words("il ce"),
    empty_beside=_words("il"),
    verbs_beside=_words("faut y a t peut"),
    empty_with=_words("de que qu"),
    prepositions=_words("pour de avec sans à sur en dans par chez sous"),
    determiners=_words("un une le la les mon ma mes notre nos votre vos chaque"),
    openers=_words("peut peut-on faut-il est-ce dois-je puis-je"),
    verbs=_words("peut peut-on faut faut-il dois-je puis-je combien comment quand où coûte dure faire quel"
                 " quelle quels"
                 " quelles est-ce qui quoi doit y a-t-il possible permis autorisé"),
    facets=_words("frais formulaire demande délai exception exceptions règle règles amende prix document"
                  " documents hiver"
                  " été week-end jour jours mois an taille hauteur autorisation"),
)  # fmt: skip
_SPANISH = Grammar(
    links=_phrases("y|pero|y para|qué pasa con|también|si no|en ese caso|y si|aunque|y en"),
    pointing=_words("eso esto ello él ella ellos ellas este esta estos estas ese esa esos esas aquel aquella"
                    " allí ahí"),
    always=_words("eso esto ello"),
    prepositions=_words("para de con sin a sobre en por"),
    determiners=_words("un una el la los las mi mis nuestro nuestra su cada"),
    openers=_words("puede puedo hay debo se es"),
    times=_words("año mes semana verano invierno"),
    verbs=_words("puede puedo hay debo cuánto cuanto cuándo cómo dónde cuesta dura hacer cuál cuáles qué"
                 " quién tiene"
                 " necesito posible permitido obligatorio"),
    facets=_words("permiso tasa tasas formulario solicitud plazo excepción excepciones regla reglas multa precio"
                  " documento documentos invierno verano día días mes meses año años tamaño altura"),
)  # fmt: skip
_KNOWN = {
    "en": _ENGLISH, "sv": _SWEDISH, "de": _GERMAN, "da": _DANISH, "no": _NORWEGIAN, "fi": _FINNISH, "fr": _FRENCH,
    "es": _SPANISH,
}  # fmt: skip


@cache
def grammar_of(code: str) -> Grammar:
    """What is known of a language (ISO 639-1); nothing of one that is not among `LANGUAGES`."""
    return _KNOWN.get(code, Grammar())
