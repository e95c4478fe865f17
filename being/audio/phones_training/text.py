"""Things to say, in any language, without a download: words, numbers, invented words, and bare syllables.

What is said matters little; that every phone meets every neighbour matters. Sentences of real words give natural
rhythm, numbers are spelled out by espeak in the language of the voice, invented words in the language's own script pass
through its spelling rules, and syllables in espeak's phoneme mnemonics fill up what is rare, lip closures above all.
"""

# ruff: noqa: RUF001 -- letters of many scripts are meant
from __future__ import annotations

import numpy as np

_WORDS: dict[str, list[str]] = {
    language: words.split()
    for language, words in {
        "en": "the a this that my your our people mother father baby problem map paper apple pepper happy copy "
        "open maybe number member remember summer summer family company important computer simple example "
        "temple bread butter brown blue black big bag boy table cable bubble public possible map jump lamp "
        "camp help keep stop ship shop cup soup time home come some same name game team dream I you he she "
        "we they it is was were are be been have had do did would could should will can may might not never "
        "always often very much more most first last long little own other old right high different small "
        "large next early young few same able good new great think thing three through thank both mouth with "
        "without these those then father other brother weather either church watch which much change judge "
        "large bridge message page measure pleasure vision usual garage beige ship sure sugar nation five "
        "seven voice very favour over of off leaf life love live laugh phone photo friend front fresh from "
        "for four six sister six system yes yesterday zero zoo easy music news please as his has was go get "
        "give gold garden again king car kitchen cat cold quick question quiet queen quarter look book good "
        "foot full put could would wood food moon soon blue two too few new view you huge unit use world "
        "word work girl first bird heard early turn learn red road right wrong write rain river run round "
        "ring long song sing bring young among hand hold house how now out about down town cloud mouth south "
        "boy toy voice noise choice point oil day way say great late rain eight play sky fly high light "
        "night time life my eye why walk talk thought bought caught law all ball small tall water",
        "es": "el la los una hombre mujer niño padre madre pueblo problema nombre siempre tiempo también bueno "
        "malo grande pequeño primero mucho poco agua fuego tierra cielo casa perro gato libro trabajo hablar "
        "comer beber vivir pero porque cuando donde mañana noche ayer hoy verde rojo azul blanco jefe gente "
        "guerra lluvia llave caballo mesa",
        "fr": "le la les un une homme femme enfant père mère peuple problème nombre toujours temps bon mauvais "
        "grand petit premier beaucoup peu eau feu terre ciel maison chien chat livre travail parler manger "
        "boire vivre mais parce que quand où matin nuit hier vert rouge bleu blanc jamais jour feuille peur "
        "bonheur chambre pomme pain rue lune",
        "de": "der die das ein Mann Frau Kind Vater Mutter Volk Problem Name immer Zeit gut schlecht groß klein "
        "zuerst viel wenig Wasser Feuer Erde Himmel Haus Hund Katze Buch Arbeit sprechen essen trinken leben "
        "aber weil wann wo morgen Nacht gestern grün rot blau weiß schön über müssen Apfel Pflaume Pferd "
        "Baum Blume Bibel Lampe Suppe Zug zwei",
        "pt": "o a os uma homem mulher menino pai mãe povo problema nome sempre tempo também bom mau grande "
        "pequeno primeiro muito pouco água fogo terra céu casa cão gato livro trabalho falar comer beber "
        "viver mas porque quando onde",
        "pl": "człowiek kobieta dziecko ojciec matka problem imię zawsze czas dobry zły duży mały pierwszy bardzo "
        "woda ogień ziemia niebo dom pies kot książka praca mówić jeść pić żyć ale ponieważ kiedy gdzie rano "
        "noc wczoraj zielony",
        "nl": "de het een man vrouw kind vader moeder volk probleem naam altijd tijd goed slecht groot klein "
        "eerste veel water vuur aarde hemel huis hond kat boek werk spreken eten drinken leven maar omdat "
        "wanneer waar morgen nacht groen",
        "sv": "en man kvinna barn far mor folk problem namn alltid tid god dålig stor liten första mycket vatten "
        "eld jord himmel hus hund katt bok arbete tala äta dricka leva men därför när var morgon natt igår "
        "grön röd blå vit sjuk",
        "fi": "mies nainen lapsi isä äiti kansa nimi aina aika hyvä paha suuri pieni ensimmäinen paljon vesi tuli "
        "maa taivas talo koira kissa kirja työ puhua syödä juoda elää mutta koska milloin missä aamu yö "
        "eilen vihreä punainen sininen",
        "ru": "человек женщина ребёнок отец мать народ проблема имя всегда время хороший плохой большой маленький "
        "первый вода огонь земля небо дом собака кошка книга работа говорить есть пить жить но потому когда "
        "где утро ночь вчера",
        "el": "άνθρωπος γυναίκα παιδί πατέρας μητέρα πρόβλημα όνομα πάντα χρόνος καλός κακός μεγάλος μικρός πρώτος "
        "νερό φωτιά",
        "hi": "आदमी औरत बच्चा पिता माँ समस्या नाम हमेशा समय अच्छा बुरा बड़ा छोटा पहला पानी आग धरती आकाश घर कुत्ता "
        "बिल्ली किताब काम",
        "ar": "رجل امرأة ولد أب أم مشكلة اسم دائما وقت جيد كبير صغير أول ماء نار أرض سماء بيت كلب قطة كتاب عمل باب",
        "ko": "사람 여자 아이 아버지 어머니 문제 이름 항상 시간 좋은 나쁜 큰 작은 처음 물 불 땅 하늘 집 개 고양이 "
        "책 일 밥 비",
        "ja": "ひと おんな こども ちち はは もんだい なまえ いつも じかん よい わるい おおきい ちいさい みず ひ "
        "つち そら いえ いぬ ねこ ほん",
        "cmn": "mama1 baba4 ren2 nv3 hai2zi5 wen4ti2 ming2zi4 shi2jian1 hao3 huai4 da4 xiao3 shui3 huo3 tian1 jia1 "
        "gou3 mao1",
    }.items()
}  # fmt: skip

# Consonants and vowels from which words are invented, by script.
_LATIN = ([*"pbmtdkgfvszlrnhjwc", "sh", "ch", "th", "br", "pl", "st", "kr"], [*"aeiou", "aa", "ee", "oo", "ai", "au"])
_SCRIPTS: dict[str, tuple[list[str], list[str]]] = {
    "cyrillic": (list("пбмтдкгфвсзнлрхшжчцй"), list("аеиоуыэюя")),
    "greek": ([*"πβμτδκγφσζνλρχθξ", "μπ", "ντ"], [*"αειουηω", "ου", "αι", "ει"]),
    "arabic": (list("بمتدكفسزنلرهشجخقعغو"), ["ا", "ي", "و", "َ", "ِ", "ُ"]),
    "persian": (list("بپمتدکگفسزنلرهشچجخو"), ["ا", "ی", "و", "َ", "ِ", "ُ"]),
    "hebrew": (list("בפמתדכגסזנלרהשקצ"), ["ָ", "ֵ", "ִ", "וֹ", "וּ"]),
    "devanagari": (list("पबमतदकगफवसजनलरहशचटडखघभथय"), list("ािीुूेैोौ")),
    "bengali": (list("পবমতদকগফভসজনলরহশচটড"), list("ািীুূেৈোৌ")),
    "gujarati": (list("પબમતદકગફવસજનલરહશચટડ"), list("ાિીુૂેૈોૌ")),
    "gurmukhi": (list("ਪਬਮਤਦਕਗਫਵਸਜਨਲਰਹਚਟਡ"), list("ਾਿੀੁੂੇੈੋੌ")),
    "tamil": (list("பமதகவசநலரயடண"), list("ாிீுூெேைொோ")),
    "telugu": (list("పబమతదకగఫవసజనలరహశచటడ"), list("ాిీుూెేైొో")),
    "kannada": (list("ಪಬಮತದಕಗಫವಸಜನಲರಹಶಚಟಡ"), list("ಾಿೀುೂೆೇೈೊೋ")),
    "malayalam": (list("പബമതദകഗഫവസജനലരഹശചടഡ"), list("ാിീുൂെേൈൊോ")),
    "sinhala": (list("පබමතදකගවසජනලරහශචටඩ"), list("ාිීුූෙේොෝ")),
    "georgian": (list("პბმტდკგვსზნლრხშჩცჯთფ"), list("აეიოუ")),
    "armenian": (list("պբմտդկգֆվսզնլրխշչջթփ"), list("աեիոու")),
    "thai": (list("ปบมตดกพฟวสนลรหชท"), list("าิีุู")),
    "ethiopic": (list("በመተከገሰዘነለረሀፈ"), list("ቡሚቴካጎሲዙኔሉሪ")),
    "kana": (list("ぱばまただかがさざならはわやちし"), list("ぷびめとどきごすずにれほんい")),
    "hangul": (list("바마파다타가카사자나라하"), list("부미페도티구코시조네루후입맘")),
}
_SCRIPT_OF = {
    "ru": "cyrillic", "ru-lv": "cyrillic", "uk": "cyrillic", "bg": "cyrillic", "mk": "cyrillic", "sr": "cyrillic",
    "kk": "cyrillic", "ky": "cyrillic", "tt": "cyrillic", "ba": "cyrillic", "cv": "cyrillic", "nog": "cyrillic",
    "el": "greek", "grc": "greek", "ar": "arabic", "ur": "persian", "fa": "persian", "sd": "arabic", "ug": "arabic",
    "he": "hebrew", "hi": "devanagari", "mr": "devanagari", "ne": "devanagari", "kok": "devanagari",
    "bn": "bengali", "as": "bengali", "bpy": "bengali", "gu": "gujarati", "pa": "gurmukhi", "ta": "tamil",
    "te": "telugu", "kn": "kannada", "ml": "malayalam", "si": "sinhala", "ka": "georgian", "hy": "armenian",
    "hyw": "armenian", "th": "thai", "am": "ethiopic", "ja": "kana", "ko": "hangul",
}  # fmt: skip

# espeak mnemonics that nearly every language's phoneme table holds.
_MNEMONIC_CONSONANTS = [*"pbmpbmpbmfvtdkgsznlrwjhSTD", "tS"]
_MNEMONIC_VOWELS = [*"aeiouaeiouEIU@", "A:", "i:", "u:", "O:", "aI", "aU", "eI"]


def sentence(rng: np.random.Generator, language: str) -> str:
    """One utterance of about two to six seconds in ``language`` (an espeak tag)."""
    kinds = [_words, _invented, _numbers, _syllables]
    root = language.split("-")[0]
    shares = [0.60, 0.15, 0.08, 0.17] if root in _WORDS else [0.0, 0.60, 0.18, 0.22]
    text = kinds[int(rng.choice(4, p=shares))](rng, language)
    return text + str(rng.choice([".", ".", ".", "?", "!"]))


def _pick(rng: np.random.Generator, items: list[str], count: int) -> list[str]:
    return [items[int(k)] for k in rng.integers(len(items), size=count)]


def _with_pauses(rng: np.random.Generator, words: list[str]) -> str:
    return " ".join(word + ("," if rng.random() < 0.10 else "") for word in words)


def _words(rng: np.random.Generator, language: str) -> str:
    return _with_pauses(rng, _pick(rng, _WORDS[language.split("-")[0]], int(rng.integers(3, 14))))


def _invented(rng: np.random.Generator, language: str) -> str:
    consonants, vowels = _SCRIPTS.get(_SCRIPT_OF.get(language, ""), _LATIN)
    words = []
    for _ in range(int(rng.integers(3, 9))):
        syllables = int(rng.integers(1, 4))
        parts = zip(_pick(rng, consonants, syllables), _pick(rng, vowels, syllables), strict=True)
        word = "".join(consonant + vowel for consonant, vowel in parts)
        words.append(word + (_pick(rng, consonants, 1)[0] if rng.random() < 0.3 else ""))
    return _with_pauses(rng, words)


def _numbers(rng: np.random.Generator, language: str) -> str:
    numbers = [str(int(10.0 ** rng.uniform(0.0, 5.0))) for _ in range(int(rng.integers(2, 5)))]
    return _with_pauses(rng, numbers)


def _syllables(rng: np.random.Generator, language: str) -> str:
    words = []
    for _ in range(int(rng.integers(3, 8))):
        syllables = int(rng.integers(1, 4))
        stressed = int(rng.integers(syllables))
        word = ""
        for k in range(syllables):
            word += _pick(rng, _MNEMONIC_CONSONANTS, 1)[0] + ("'" if k == stressed else "")
            word += _pick(rng, _MNEMONIC_VOWELS, 1)[0]
        words.append(word + (_pick(rng, _MNEMONIC_CONSONANTS, 1)[0] if rng.random() < 0.35 else ""))
    return " ".join(f"[[{word}]]" + ("," if rng.random() < 0.1 else "") for word in words)
