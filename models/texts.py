"""What the voices say: seeded sentences for each language.

English mixes everyday sentences rich in lip sounds with random runs of common words. Mandarin mixes fixed phrases of
public places with random legal syllables, every initial with every final it takes. The other languages are syllable
salad in their own spelling: what matters is that their sounds come in every neighbourhood.
"""

from functools import partial
from random import Random
from typing import Callable, Dict, List

SENTENCES: List[str] = [
    "hello my name is bob and I'm happy to be here", "we move people and things from place to place",
    "could you please give me the book about weather", "whatever you want to do, do it now",
    "I would love to buy more apples maybe tomorrow", "the president of the company said we have a problem",
    "how are you today, are you feeling better", "open the window before you go to bed",
    "what will you do when summer comes", "five very famous voices have laughed for fun",
    "blue moon over the pool, who knew you would move", "the cat sat on the mat and had a nap",
    "she sees the green tree near the street", "thank you so much for coming, it means a lot",
    "my fellow citizens, we must build a better future", "put the cup on top of the table by the wall",
    "mama made warm muffins for my papa", "both of them bought blue boats in the bay",
    "never give up on what you believe", "the quick brown fox jumps over the lazy dog",
    "we were away a while ago, were we not", "oh no, I do not know where the phone goes",
    "just remember that more power means more problems", "good morning everyone and welcome to the show",
    "let me explain how simple this thing really is", "our members want jobs, homes, and a place to belong",
    "fathers and mothers often have a rough life", "it was the best of times, it was the worst of times",
    "ask them to bring the paper map back by noon", "maybe we can improve the bottom part a bit",
    "please take a number and wait until your name is called", "the museum opens at half past nine every morning",
    "today we will talk about rivers, mountains and the sea", "push the button marked with a big yellow arrow",
    "remember to bring your passport and two photographs", "the next bus leaves from platform seven in five minutes",
]  # fmt: skip

COMMON_WORDS = """
a about above across act add after again against age ago air all almost along already also always among amount and
animal another answer any appear apple are area arm around arrive art as ask at away baby back bad ball bank base be
beautiful became because bed been before began behind believe below best better between big bird black blood blue
board boat body book both bottom box boy bring brother brought build built business but buy by call came can car care
carry cause change chief child choose church city class clear close cold color come common complete could country
course cover cross cut dark day deep did difference different do does dog done door down draw dream drive dry during
each early earth ease east eat effect egg eight end enough even evening ever every example eye face fact fall family
famous far farm fast father favor feel feet few field fight figure fill final find fine finger fire first fish five
floor flower fly follow food foot for force form found four free friend from front full game garden gave general get
girl give glass go gold good got govern great green ground group grow had half hand happen happy hard has have he head
hear heart heat heavy help her here high him his hold home hope horse hot hour house how however human hundred idea if
important in inch island it job join just keep kind king knew know land language large last late laugh law lay lead
learn leave left less let letter life light like line list listen little live long look lost lot love low made main
make man many map mark may me mean measure member men might mile milk million mind minute miss money month moon more
morning most mother mountain move much music must my name near need never new next night nine no north nose note
nothing notice now number object ocean of off office often oil old on once one only open or order other our out over
own page paper part pass past pay people perhaps person picture piece place plan plane plant play point poor possible
power present problem produce product provide public pull purpose push put question quick quiet quite rain ran reach
read ready real reason red region remember rest result rich ride right river road rock room round rule run said same
saw say school science sea second see seem self send sentence serve set seven several shape she ship short should show
side simple since sing sister sit six sky sleep slow small snow so some son song soon sound south space speak special
spring stand star start state stay step still stone stood stop story street strong study such sudden summer sun sure
surface system table take talk teach tell ten than thank that the their them then there these they thing think this
those though thought thousand three through time to today together told too took top toward town travel tree true try
turn two under unit until up us use usual valley value very view village voice vowel walk wall want war warm was watch
water wave way we week well went were west what wheel when where whether which while white who whole whose why wide
wild will wind window winter wish with woman wonder wood word work world would write year yellow yes yet you young
your
"""
WORDS: List[str] = COMMON_WORDS.split()

PINYIN_PHRASES: List[str] = [
    "ni2 hao3, huan1 ying2 guang1 lin2", "qing3 wen4 you3 shen2 me5 ke3 yi3 bang1 nin2",
    "jin1 tian1 tian1 qi4 hen3 hao3", "qing3 na2 hao3 nin2 de5 shen1 fen4 zheng4",
    "wo3 men5 xian4 zai4 kai1 shi3 shang4 ke4", "ge4 wei4 tong2 xue2 da4 jia1 hao3",
    "qing3 dao4 san1 hao4 chuang1 kou3 ban4 li3", "xie4 xie5 nin2 de5 nai4 xin1 deng3 dai4",
    "ming2 tian1 bei3 jing1 duo1 yun2 zhuan3 qing2", "ben3 ci4 lie4 che1 kai1 wang3 shang4 hai3",
    "ba4 ba5 ma1 ma5 he2 wo3 yi4 qi3 qu4 gong1 yuan2", "fa1 xian4 wen4 ti2 fen1 xi1 wen4 ti2 jie3 jue2 wen4 ti2",
    "xin1 wen2 lian2 bo1 zai4 wan3 shang5 qi1 dian3 bo1 chu1", "pu3 tong1 hua4 he2 fang1 yan2 dou1 hen3 mei3",
    "gong1 bu4 jie2 guo3, bu4 men2 pi1 zhun3", "wu3 ge4 peng2 you3 mai3 le5 mian4 bao1 he2 mi3 fan4",
    "yu2 shi4 lü3 ke4 qu4 le5 yun2 nan2", "wo3 xi3 huan5 chun1 tian1 de5 hua1 he2 qiu1 tian1 de5 feng1",
]  # fmt: skip

_FINALS_BY_INITIALS: Dict[str, str] = {
    "b p m": "a o ai ei ao an en ang eng i ie iao ian in ing u",
    "f": "a o ei ou an en ang eng u",
    "d t n l g k h": "a e ai ei ao ou an ang eng ong u uo ui uan un",
    "j q x": "i ia ie iao iu ian in iang ing u ue uan un",
    "zh ch sh r z c s": "a e i ai ao ou an en ang eng ong u uo ui uan un",
    "y": "a e i ao ou an in ang ing ong u ue uan un",
    "w": "a o ai ei an en ang eng u",
}
SYLLABLES: List[str] = [
    initial + final
    for group, finals in _FINALS_BY_INITIALS.items()
    for initial in group.split()
    for final in finals.split()
]

_SALADS: Dict[str, "tuple[str, str]"] = {  # language -> (consonants, vowels)
    "de": ("b d f g h k l m n p r s t w sch z", "a e i o u ä ö ü ei au eu"),
    "fr-fr": ("b d f g j l m n p r s t v ch", "a e é i o u ou oi an on in eu"),
    "es": ("b d f g l m n p r s t v ch ll ñ", "a e i o u"),
    "it": ("b d f g l m n p r s t v z", "a e i o u"),
    "pt-br": ("b d f l m n p r s t v lh nh", "a e i o u ão ei"),
    "ru": ("б в г д ж з к л м н п р с т ф х ч ш", "а е и о у ы э ю я"),
    "pl": ("b d f g k l m n p r s t w z sz cz", "a e i o u ó y ę"),
    "tr": ("b d f g k l m n p r s t v y ş ç", "a e ı i o ö u ü"),
    "sv": ("b d f g k l m n p r s t v", "a e i o u å ä ö y"),
    "nl": ("b d f g k l m n p r s t v w", "a e i o u oe ui ee oo"),
    "fi": ("h j k l m n p r s t v", "a e i o u ä ö y"),
    "cs": ("b d f g h j k l m n p r s t v z c ch č š ž ř", "a e i o u y á í é ů ou"),
    "ca": ("b c d f g l m n p r s t v j ll ny", "a e i o u à è é í ò ó"),
    "el": ("β δ φ μ ν π ρ σ τ κ λ", "α ε ι ο ου"),
    "hi": ("ब द म न प र स त क ल ग व ज च श य ह ट भ", "ा ि ो ु े ी ू"),
    "te": ("బ ద మ న ప ర స త క ల గ వ జ చ శ య హ ట భ", "ా ి ొ ో ు ె ే ీ ూ"),
    "ar": ("ب د ف م ن ر س ت ك ل", "ا و ي"),
    "vi": ("b d m n p t kh l v", "a e i o u ơ ư"),
    "ja": (
        "か き く け こ さ し す せ そ た ち つ て と な に ぬ ね の は ひ ふ へ ほ ま み む め も ら り る れ ろ わ "
        "ば び ぶ べ ぼ ぱ ぴ ぷ ぺ ぽ が ぎ ぐ げ ご ざ じ ず だ で ど や ゆ よ びょ きゃ しゅ",
        "あ い う え お",
    ),
}  # fmt: skip


def english(rng: Random) -> str:
    """A sentence of English: a fixed one (sometimes shuffled), or common words in a row."""
    if rng.random() < 0.4:
        text = rng.choice(SENTENCES)
        if rng.random() < 0.5:
            text += ", " + rng.choice(SENTENCES)
        words = text.split()
        if rng.random() < 0.5:
            rng.shuffle(words)
    else:
        words = [rng.choice(WORDS) + ("," if rng.random() < 0.06 else "") for _ in range(rng.randint(5, 14))]
    return " ".join(words).rstrip(",") + "."


def mandarin(rng: Random) -> str:
    """Mandarin in numbered pinyin: phrases, or legal syllables in random order."""
    if rng.random() < 0.4:
        return ", ".join(rng.choice(PINYIN_PHRASES) for _ in range(rng.randint(1, 2)))
    return " ".join(
        rng.choice(SYLLABLES) + rng.choice("12345") + ("," if rng.random() < 0.08 else "")
        for _ in range(rng.randint(6, 16))
    )


def salad(language: str, rng: Random) -> str:
    """Words of one to four random syllables of a language."""
    consonants, vowels = (part.split() for part in _SALADS[language])
    words = []
    for _ in range(rng.randint(4, 9)):
        word = ""
        for _ in range(rng.randint(1, 4)):
            word += rng.choice(consonants) + rng.choice(vowels)
            word += rng.choice(consonants) if rng.random() < 0.2 else ""
        words.append(word)
    return " ".join(words)


OTHERS: Dict[str, Callable[[Random], str]] = {language: partial(salad, language) for language in _SALADS}
"""Languages other than English and Mandarin, by espeak-ng's names."""

LANGUAGES: Dict[str, Callable[[Random], str]] = {"en": english, "cmn": mandarin, **OTHERS}
"""All languages, by the names of the corpus."""
