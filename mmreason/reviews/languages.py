"""Which language a review is in, if it is one that has no opinion rules here: by its script, or a vote of small words.

German read as English is worse than not read: "Die Wolle ist weich" would count against the item.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from mmreason.language import is_chinese

_WORD = re.compile(r"[^\W\d_]+")
_LOOKED_AT = 400  # characters

_SCRIPTS = {"HANGUL": "Korean", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "DEVANAGARI": "Hindi"}
"""Scripts of one language; any other but Latin and Chinese is named itself."""

# fmt: off
# Frequent words of each language that are no words of English, and letters that it alone, or nearly, writes with.
_ENGLISH = frozenset([
    "the", "and", "is", "it", "this", "that", "i", "was", "for", "my", "very", "with", "are", "to", "of", "in", "you",
    "so", "but", "not", "have", "on", "as", "they", "these", "be", "at", "we", "had", "has", "our", "an", "a",
    "its",
    "great", "love", "soft", "good", "nice", "well", "too", "just", "from", "will", "would", "all", "she", "he", "her",
    "his",
])
_SMALL_WORDS: dict[str, tuple[str, str]] = {
    "German": (
        "und der das ist nicht sehr ich mit ein eine auch auf für von zu dem den es sind aber wie "
        "leider nur noch bei einen schön gut habe haben sich dass kann wird nach aus oder zum zur "
        "keine mein wir immer bin würde etwas ganz mehr weich weiche weicher weiches wolle stoff "
        "tolle toller tolles gute guter gutes schöne schöner schönes farbe qualität ware passt "
        "perfekt gerne wieder alles bestens klasse hält sitzt fällt zufrieden lieferung schnelle "
        "schnell preis leistung jacke hose kleid schuhe größe groß klein empfehlenswert bequem "
        "angenehm hochwertig günstig danke bestellt gekauft geschenk produkt",
        "äöüß",
    ),
    "French": (
        "de et le les est très je une des pour pas avec dans ce cette mais qui que sur bien elle il "
        "ne plus sont mon ma nous vous tout bon bonne c'est produit trop aussi parfait parfaite "
        "qualité belle beau belles joli jolie couleur doux douce taille conforme satisfait satisfaite "
        "livraison rapide laine chaud chaude confortable recommande content contente merci agréable "
        "cadeau",
        "êœç",
    ),
    "Spanish": (
        "de y el los las es muy que con para una por mi como pero más este esta del se lo muy está "
        "son buen buena bueno calidad producto todo nada gracias bonito bonita también tan suave "
        "encanta excelente precio rápido perfecto cómodo cómoda recomiendo tela lana talla hermoso "
        "contento contenta envío",
        "ñ¿¡",
    ),
    "Italian": (
        "il che è molto non per una con sono gli della questo questa ma come ho mi anche bello bella "
        "ottimo prodotto qualità più perfetto tutto nel alla di morbido morbida bellissimo bellissima "
        "ottima buono buona consigliato consiglio spedizione veloce prezzo taglia colore soddisfatto "
        "soddisfatta comodo tessuto lana",
        "ìò",
    ),
    "Portuguese": (
        "de e o os muito que não com para uma um por meu minha mas como bom boa ótimo produto "
        "qualidade é mais também está gostei recomendo são ótima excelente macio macia tecido tamanho "
        "chegou perfeito linda lindo entrega",
        "ãõ",
    ),
    "Dutch": (
        "de het een en niet zeer erg ik met voor dat deze mooi goed maar ook zijn heel mijn wel van "
        "naar bij heb nog geen prima kwaliteit mooie zachte zacht stof kleur tevreden snelle levering "
        "maat fijne fijn warme leuk leuke aanrader",
        "",
    ),
    "Swedish": (
        "och är det som jag inte mycket med för att på den bra ett mina väldigt fin men har var "
        "kvalitet mjuk mjukt skön nöjd snabb leverans färg storlek",
        "",
    ),
    "Danish": (
        "og er det ikke jeg meget med for at på den god et min rigtig fin men har som",
        "ø",
    ),
    "Norwegian": (
        "og er det ikke jeg veldig med for å på den bra et min fin men har som",
        "",
    ),
    "Finnish": (
        "ja on ei hyvä se että mutta oli erittäin todella kuin tämä myös hyvin olen",
        "",
    ),
    "Polish": (
        "i jest nie się bardzo to w z na do że ale dla jak są polecam dobra ładny ładna produkt mi "
        "tylko jakość świetny świetna miękki miękka szybka dostawa",
        "łąęśżźćń",
    ),
    "Czech": (
        "je a se na že to velmi jsem ale pro jak jsou není dobrý kvalita moc",
        "řěůč",
    ),
    "Turkish": (
        "ve bir çok bu ürün güzel için değil ama kaliteli gibi daha tavsiye ederim olarak",
        "ğşı",
    ),
    "Romanian": (
        "de și este foarte nu cu pentru un o din care dar mai produs sunt bun calitate",
        "ățș",
    ),
    "Hungarian": (
        "és nem nagyon egy ez hogy jó szép termék minőség csak már",
        "őű",
    ),
    "Indonesian": (
        "dan yang ini sangat tidak dengan untuk bagus barang saya sudah sesuai juga dari banget",
        "",
    ),
    "Vietnamese": (
        "và rất là không của cho này đẹp hàng được tốt nhưng với",
        "đơưạảấầậắặẹẻẽếềểệịọỏốồổộớờởợụủứừửữự",
    ),
}
# fmt: on
_NAMES = {
    word: [name for name, (words, _) in _SMALL_WORDS.items() if word in words.split()]
    for words, _ in _SMALL_WORDS.values()
    for word in words.split()
}
_LETTERS = {letter: name for name, (_, letters) in _SMALL_WORDS.items() for letter in letters}


def unmined_language(text: str, around: str = "") -> str:
    """The language of a text that cannot be mined; empty if it is English or Chinese, or too short to tell.

    Args:
        text: A review, or a sentence of one.
        around: The language of the review, which a sentence without a small word of English shares.

    Example:
        >>> unmined_language("Die Wolle ist sehr weich."), unmined_language("ткань очень мягкая")
        ('German', 'Cyrillic')
        >>> unmined_language("So soft, crème de la crème!"), unmined_language("面料很柔软")
        ('', '')
    """
    text = text[:_LOOKED_AT]
    if not text.isascii() and (script := _script(text)):
        return script
    lower = text.lower()
    words = _WORD.findall(lower)
    english = sum(word in _ENGLISH for word in words)
    known = [word for word in words if word in _NAMES]
    letters = [] if text.isascii() else [letter for letter in dict.fromkeys(lower) if letter in _LETTERS]
    votes = Counter(name for word in known for name in _NAMES[word])
    votes.update(_LETTERS[letter] for letter in letters)
    if not votes:
        return "" if english else around
    name, most = votes.most_common(1)[0]
    own = any(len(word) > 2 and name in _NAMES[word] for word in known)
    own = own or any(_LETTERS[letter] == name for letter in letters)
    alone = not english and most * 5 >= len(words) and own
    if most > english and (most > 1 or alone):
        return name
    return "" if english else around


def not_mined(language: str) -> str:
    """The cause under which a review or sentence in a language without opinion rules is counted."""
    return f"in {language}, which cannot be mined"


def _script(text: str) -> str:
    """The script of most letters, by the language that writes in it; empty for Latin and Chinese."""
    letters = [character for character in text if character.isalpha()]
    scripts = Counter(unicodedata.name(letter, "").partition(" ")[0] for letter in letters)
    if scripts["HIRAGANA"] + scripts["KATAKANA"] > len(letters) / 10:
        return "Japanese"
    if not scripts or is_chinese(text):
        return ""
    script = scripts.most_common(1)[0][0]
    return "" if script in ("LATIN", "CJK", "FEMININE", "MASCULINE") else _SCRIPTS.get(script, script.title())
