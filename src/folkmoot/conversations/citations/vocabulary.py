"""Words that the check of answers knows: negations, duties, closed classes, and the commonest synonyms of offices.

English, Swedish and German, with the negations of some neighbours. In other languages only stems, figures and names
are compared.
"""

from __future__ import annotations

_SETS = {
    name: frozenset(words.split())
    for name, words in {
        "not": """
            not no never neither none nobody nothing cannot without inte ej icke aldrig ingen inget inga
            ingenting utan varken nicht kein keine keinen keinem keiner keines nie niemals niemand nichts
            ohne weder ikke ikkje aldri niet geen nooit zonder ne pas jamais aucun aucune sans ni nunca
            sin nao não sem ei eivät emme et älä ilman
        """,
        "ahead": """
            no without ingen inget inga utan kein keine keinen keinem keiner keines ohne uten sans sin
        """,
        "all": """
            all every everyone everybody always everywhere entire whole any alla allt alltid överallt
            samtliga hela varje alle aller allen immer überall sämtliche ganzen gesamte jeder jede jedes
            jedem stets unbegrenzt unlimited
        """,
        "some": """
            some several certain sometimes often usually most many vissa några ibland ofta oftast flera
            många einige manche manchmal oft meist meistens mehrere viele
        """,
        "only": """
            only solely exclusively except unless bara endast enbart utom nur lediglich ausschließlich
            außer
        """,
        "little": """
            the a an of den det de der die das dem des ein eine einen einem einer en ett
        """,
        "slots": """
            by to from at with of in for av till från hos på i med för von bei durch an zu zum zur beim
            vom im mit
        """,
    }.items()
}
NOT = _SETS["not"]
"""Words that deny what stands next to them; `n't` is cut off before."""
AHEAD = _SETS["ahead"]
"""Those that deny only what follows."""
ALL = _SETS["all"]
SOME = _SETS["some"]
ONLY = _SETS["only"]
LITTLE = _SETS["little"]
"""What may stand between a preposition and its noun."""
SLOTS = _SETS["slots"]
"""Prepositions."""

MORE_STOPS = {
    code: frozenset(words.split())
    for code, words in {
        "en": """
            may might must shall could also per via within upon therefore thus however please would like
            get gets got us one else even yet still every each without cannot whether whose onto until
            unless while among need needs needed required want wants whoever anyone everyone somebody
            nobody nothing anything always never according means mean case able
        """,
        "sv": """
            får måste bör även också samt per ja dock cirka ska måsta kunna vill istället både antingen
            genom hos vid behöver behövs enligt alltid aldrig varandra gäller dessutom annars utom före
            innan minst högst
        """,
        "de": """
            darf dürfen müssen sollen sollte je pro ja bzw sowie jedoch beim vom bis ab kann können
            möchten binnen innerhalb laut gemäß wird bitte sofern falls bereits immer nie stets erst
            höchstens mindestens maximal gilt gelten brauchen braucht bekommen bekommt erhalten erhält
        """,
    }.items()
}
"""Beside those of full text, which counts what may and must be."""

CONCEPTS: dict[str, tuple[str, bool]] = {
    name: (concept, denied)
    for concept, denied, names in (
        ("#permit", False, """
            may allowed allow allows permitted permit permits permissible can får tillåtet tillåten
            tillåtna tillåts tillåter tillåta darf dürfen erlaubt erlauben erlaubte zulässig gestattet
            kann können
        """),
        ("#permit", True, """
            forbidden forbid forbids prohibited prohibit prohibits banned förbjudet förbjuden förbjudna
            förbjuds förbjuder otillåtet verboten verbietet untersagt unzulässig
        """),
        ("#oblige", False, """
            must shall required requires require obliged mandatory compulsory obligatory måste ska skall
            krävs kräver obligatorisk obligatoriskt obligatoriska behöver behövs skyldig skyldiga muss
            müssen verpflichtet erforderlich pflicht benötigt benötigen brauchen braucht brauche need
            needs needed necessary nödvändigt
        """),
        ("#advise", False, """
            should recommended recommend recommends advised bör rekommenderas rekommenderar sollte sollten
            empfohlen empfiehlt
        """),
    )
    for name in names.split()
}  # fmt: skip
"""What may, must or should be; and whether the word says that it may not."""

CLASSES: dict[str, tuple[str, str]] = {
    name: (kind, row.split()[0])
    for kind, rows in {
        "weekday": """
            monday mondays måndag måndagar måndagen montag montags|
            tuesday tuesdays tisdag tisdagar tisdagen dienstag dienstags|
            wednesday wednesdays onsdag onsdagar onsdagen mittwoch mittwochs|
            thursday thursdays torsdag torsdagar torsdagen donnerstag donnerstags|
            friday fridays fredag fredagar fredagen freitag freitags|
            saturday saturdays lördag lördagar lördagen samstag samstags sonnabend|
            sunday sundays söndag söndagar söndagen sonntag sonntags
        """,
        "month": """
            january januari januar|
            february februari februar|
            march mars märz|
            april|
            maj|
            june juni|
            july juli|
            august augusti|
            september|
            october oktober|
            november|
            december dezember
        """,
        "season": """
            spring våren vår frühling frühjahr|
            summer sommar sommaren sommer sommers|
            autumn höst hösten herbst|
            winter vinter vintern winters
        """,
        "compass": """
            north norr norden nord|
            south söder süden süd|
            east öster osten ost|
            west väster westen
        """,
        "colour": """
            red röd rött röda rot rote roten rotes|
            green grön grönt gröna grün grüne grünen grünes|
            blue blå blått blåa blau blaue blauen|
            yellow gul gult gula gelb gelbe gelben|
            black svart svarta schwarz schwarze schwarzen|
            white vit vitt vita weiß weiße weißen|
            brown brun brunt bruna braun braune braunen|
            orange|
            grey gray grå grått gråa grau graue
        """,
        "rate": """
            hourly stündlich|
            daily dagligen täglich dygn|
            weekly veckovis wöchentlich|
            monthly månadsvis monatlich|
            yearly annual annually årlig årligen årliga jährlich jährliche
        """,
        "size": """
            large big larger stor stort stora större groß große großen|
            small little smaller liten litet lilla små mindre klein kleine kleinen
        """,
        "open": """
            open opens öppen öppet öppna öppnar geöffnet offen öffnet|
            closed closes stängd stängt stängda stänger geschlossen schließt
        """,
        "change": """
            increase increases increased raise raised höjs höjas höjer ökar öka erhöht erhöhen steigt|
            decrease decreases decreased reduce reduced lowered sänks sänkas sänker minskar minska senkt
            gesenkt sinkt
        """,
        "age": """
            adult adults vuxen vuxna erwachsene erwachsenen|
            child children barn barnen kind kinder kindern
        """,
        "side": """
            left vänster vänstra links linke linken|
            right höger högra rechts rechte rechten
        """,
        "place": """
            inside indoors indoor inomhus drinnen innen|
            outside outdoors outdoor utomhus draußen außen
        """,
    }.items()
    for row in rows.split("|")
    for name in row.split()
}
"""Words of which one excludes the others, by their class and the first of their row."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    code: tuple(rows.split("|"))
    for code, rows in {
        "en": """
            fee charge cost costs price pay paid|begin start starts commence|end ends finish finishes|help
            support assist|send submit hand|staff employee employees personnel worker|buy purchase|keep
            kept retain retained store stored save|large big|free gratis|delete deleted erase remove|get
            receive obtain gets|show display|inform informed told tell notify notified|change alter
            altered modify amended|repair fix|car vehicle|quick fast|allow permit|application apply
            request|yearly annual annually year|phone telephone call|law act legislation|dispose
            discard|off out|turn switch|under below
        """,
        "sv": """
            avgift kostnad pris kosta kostar betala betalas betalar|börja starta påbörja|sluta avsluta
            upphöra|skicka lämna sända|anställd medarbetare personal|köpa inköp|spara bevara lagra|stor
            större|ta bort radera gallra|få erhålla|bil fordon|ändra ändring|ansöka ansökan|år årligen
            årlig|öppen öppet öppettider|meddela informera underrätta
        """,
        "de": """
            gebühr kosten kostet preis beträgt zahlen bezahlen zahlt|beginnen anfangen beginn start|enden
            aufhören|senden schicken einreichen|beschäftigte mitarbeiter angestellte personal|kaufen
            erwerben|aufbewahren speichern|groß größer|kostenlos gratis kostenfrei unentgeltlich|löschen
            entfernen|auto fahrzeug wagen|ändern änderung|antrag beantragen|jahr jährlich|gleichen selben
            gleiche selbe|geöffnet offen öffnet öffnungszeiten|mitteilen informieren|woche
            wöchentlich|rabatt nachlass ermäßigung|maximal höchstens
        """,
    }.items()
}
"""Groups of words that mean the same or nearly."""
