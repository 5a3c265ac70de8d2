"""Words that say nothing of what a text is about: articles, pronouns, prepositions, what questions begin with.

Closed classes of each language, in small letters; a language that is not here has none, and rarity alone tells its
words apart.
"""

from __future__ import annotations

_LISTS = {
    "en": """
        a about above after again against ain all am an and any are aren as at be because been before being below
        between both but by can could couldn did didn do does doesn doing don down during each few for from further
        had hadn has hasn have haven having he her here hers herself him himself his how i if in into is isn it its
        itself just ll m ma me mightn more most mustn my myself needn no nor not now o of off on once only or other
        our ours ourselves out over own re s same shan she should shouldn so some such t than that the their theirs
        them themselves then there these they this those through to too under until up ve very was wasn we were weren
        what when where which while who whom whose why will with won would wouldn y you your yours yourself yourselves
    """,
    "sv": """
        alla allt att av blev bli blir blivit de dem den denna deras dess dessa det detta dig din dina ditt du där då
        efter ej eller en er era ert ett från för ha hade han hans har henne hennes hon honom hos hur här i icke ingen
        inom inte jag ju kan kunde man med mellan men mig min mina mitt mot mycket ni nu när någon något några och om
        oss på samma sedan sig sin sina sitta själv ska skall skulle som så sådan sådana sådant till under upp ut utan
        vad var vara varför varit varje vars vart vem vi vid vilka vilkas vilken vilket vår våra vårt än är åt över
    """,
    "no": """
        alle at av bare begge ble blei bli blir blitt både båe da de deg dei deim deira deires dem den denne der dere
        deres det dette di din disse ditt du dykk dykkar då eg ein eit eitt eller elles en enn er et ett etter for
        fordi fra før ha hadde han hans har hennar henne hennes her hjå ho hoe honom hoss hossen hun hva hvem hver
        hvilke hvilken hvis hvor hvordan hvorfor i ikke ikkje ingen ingi inkje inn inni ja jeg kan kom korleis korso
        kun kunne kva kvar kvarhelst kven kvi kvifor man mange me med medan meg meget mellom men mi min mine mitt mot
        mykje ned no noe noen noka noko nokon nokor nokre nå når og også om opp oss over på samme seg selv si sia
        sidan siden sin sine sitt sjøl skal skulle slik so som somme somt så sånn til um upp ut uten var vart varte
        ved vere verte vi vil ville vore vors vort vår være vært å
    """,
    "da": """
        ad af alle alt anden at blev blive bliver da de dem den denne der deres det dette dig din disse dog du efter
        eller en end er et for fra ham han hans har havde have hende hendes her hos hun hvad hvem hver hvilken hvis
        hvor hvordan hvorfor hvornår i ikke ind jeg jer jo kan kunne man mange med meget men mig min mine mit mod ned
        noget nogle nu når og også om op os over på selv sig sin sine sit skal skulle som sådan thi til ud under var
        vi vil ville vor være været
    """,
    "de": """
        aber alle allem allen aller alles als also am an ander andere anderem anderen anderer anderes anderm andern
        anders auch auf aus bei bin bis bist da damit dann das dass dasselbe dazu daß dein deine deinem deinen deiner
        deines dem demselben den denn denselben der derer derselbe derselben des desselben dessen dich die dies diese
        dieselbe dieselben diesem diesen dieser dieses dir doch dort du durch ein eine einem einen einer eines einig
        einige einigem einigen einiger einiges einmal er es etwas euch euer eure eurem euren eurer eures für gegen
        gewesen hab habe haben hat hatte hatten hier hin hinter ich ihm ihn ihnen ihr ihre ihrem ihren ihrer ihres im
        in indem ins ist jede jedem jeden jeder jedes jene jenem jenen jener jenes jetzt kann kein keine keinem keinen
        keiner keines können könnte machen man manche manchem manchen mancher manches mein meine meinem meinen meiner
        meines mich mir mit muss musste nach nicht nichts noch nun nur ob oder ohne sehr sein seine seinem seinen
        seiner seines selbst sich sie sind so solche solchem solchen solcher solches soll sollte sondern sonst um und
        uns unser unsere unserem unseren unserer unseres unter viel vom von vor war waren warst was weg weil weiter
        welche welchem welchen welcher welches wenn wer werde werden wie wieder will wir wird wirst wo wollen wollte
        wurde wurden während würde würden zu zum zur zwar zwischen über
    """,
    "fi": """
        ei eivät emme en et ette että he heidän heidät heihin heille heillä heiltä heissä heistä heitä hän häneen
        hänelle hänellä häneltä hänen hänessä hänestä hänet häntä itse ja johon joiden joihin joiksi joilla joille
        joilta joina joissa joista joita joka joksi jolla jolle jolta jona jonka jos jossa josta jota jotka kanssa
        keneen keneksi kenelle kenellä keneltä kenen kenenä kenessä kenestä kenet ketkä ketä koska kuin kuka kun me
        meidän meidät meihin meille meillä meiltä meissä meistä meitä mihin miksi mikä mille millä miltä minkä minua
        minulla minulle minulta minun minussa minusta minut minuun minä missä mistä mitkä mitä mukaan mutta ne niiden
        niihin niiksi niille niillä niiltä niin niinä niissä niistä niitä noiden noin nuo nyt näiden nämä ole olemme
        olen olet olette oli olimme olin olisi olisivat olit olivat olla olleet ollut on ovat poikki se sekä sen
        siihen siinä siitä siksi sille sillä siltä sinua sinulla sinulle sinulta sinun sinussa sinusta sinut sinuun
        sinä sitä tai te teidän teidät teihin teille teillä teiltä teissä teistä teitä tuo tähän tämä tämän tässä
        tästä tätä vaan vai vaikka yli
    """,
    "nl": """
        aan al alles als altijd andere ben bij daar dan dat de der deze die dit doch doen door dus een eens en er ge
        geen geweest haar had heb hebben heeft hem het hier hij hoe hun iemand iets ik in is ja je kan kon kunnen maar
        me meer men met mij mijn moet na naar niet niets nog nu of om omdat onder ons ook op over reeds te tegen toch
        toen tot u uit uw van veel voor waar waarom want waren was wat welke werd wezen wie wil worden wordt zal ze
        zelf zich zij zijn zo zonder zou
    """,
    "fr": """
        ai aie ait as au aura aux avait avec avez avons c ce ces cet cette comment d dans de des du elle elles en es
        est et eu eux il ils j je l la le les leur leurs lui m ma mais me mes moi mon même n ne nos notre nous on ont
        ou où par pas pour pourquoi qu quand que quel quelle quelles quels qui quoi s sa sans se sera ses son sont sur
        t ta te tes toi ton tu un une vos votre vous y à étaient était été être
    """,
    "es": """
        a al algo algunas algunos ante antes como con contra cuando cuál cuáles cuándo de del desde donde durante
        dónde e el ella ellas ellos en entre era eran es esa esas ese eso esos esta estas este esto estos está están
        fue fueron ha había han hasta hay la las le les lo los me mi mis mucho muchos muy más nada ni no nos nosotros
        o os otra otras otro otros para pero poco por porque que quien quienes quién qué se sea ser si sin sobre son
        su sus sí también tanto te tiene todo todos tu tus un una uno unos y ya yo él
    """,
    "it": """
        a ad agli ai al alla alle allo anche c che chi ci come con contro cosa cui da dagli dai dal dalla dalle dallo
        degli dei del della delle dello di dov dove e ed era erano essere fa fra gli ha hai hanno ho i il in io l la
        le lei li lo loro lui ma me mi mia mie miei mio ne negli nei nel nella nelle nello noi non nostra nostro o per
        perché più quale quali quando quanto quella quelle quelli quello questa queste questi questo se sei si sia
        sono su sua sue sugli sui sul sulla sulle sullo suo suoi ti tra tu tua tuo tutti tutto un una uno vi voi è
    """,
    "pt": """
        a ao aos aquela aquele aquilo as até com como da das de dela dele depois do dos e ela elas ele eles em entre
        era essa esse esta este está eu foi foram há isso isto já lhe mais mas me mesmo meu minha muito na nas nem no
        nos num numa não nós o onde os ou para pela pelas pelo pelos por porque quais qual quando quantos que quem se
        sem ser seu seus sua suas são só também te tem tinha um uma você à às é
    """,
    "ru": """
        а без более бы был была были было быть в вам вас весь во вот все всего всех вы где да даже для до его ее если
        есть еще ещё её же за здесь и из или им их к как какая каких какой ко когда который кто ли либо мне может мы
        на над надо наш не него нее нет неё ни них но ну о об однако он она они оно от очень по под почему при с
        сколько со так также такой там те тем то того тоже той только том тот ты у уже чего чей чем что чтобы эта эти
        это этого этой этом этот я
    """,
    "ar": """
        أن أو أي أيضا أين إلى إن التي الذي الذين ب بعد بعض بين تلك ثم حيث ذلك على عن عند غير ف في قبل قد كان كانت كل
        كم كيف ل لا لم لماذا لن ما ماذا متى مع من منذ هذا هذه هل هم هو هي و يكون
    """,
}
STOP_WORDS: dict[str, frozenset[str]] = {code: frozenset(words.split()) for code, words in _LISTS.items()}
"""By ISO 639-1 code."""
