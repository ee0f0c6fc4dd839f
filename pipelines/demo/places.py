"""Where the demonstration's people live, what they are called, and what the shop sells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Country:
    """A market of the shop; weight is its share of the people, in whatever unit."""

    code: str
    locale: str
    time_zone: str
    weight: float
    cities: list[str]


COUNTRIES = (
    Country("FR", "fr-FR", "Europe/Paris", 22, ["Paris", "Lyon", "Besançon", "Nîmes", "Lille"]),
    Country(
        "DE", "de-DE", "Europe/Berlin", 20, ["Berlin", "München", "Köln", "Leipzig", "Nürnberg"]
    ),
    Country("GB", "en-GB", "Europe/London", 16, ["London", "Leeds", "Cardiff", "Glasgow"]),
    Country("ES", "es-ES", "Europe/Madrid", 10, ["Madrid", "A Coruña", "Cádiz", "Valencia"]),
    Country("PL", "pl-PL", "Europe/Warsaw", 7, ["Łódź", "Kraków", "Gdańsk", "Warszawa"]),
    Country("SE", "sv-SE", "Europe/Stockholm", 5, ["Malmö", "Göteborg", "Umeå"]),
    Country("GR", "el-GR", "Europe/Athens", 4, ["Αθήνα", "Πάτρα", "Θεσσαλονίκη"]),
    Country("US", "en-US", "America/New_York", 8, ["Boston", "Albany", "St. John's", "Durham"]),
    Country("JP", "ja-JP", "Asia/Tokyo", 5, ["東京", "大阪", "札幌"]),
    Country("BR", "pt-BR", "America/Sao_Paulo", 3, ["São Paulo", "Curitiba", "Niterói"]),
)
# Language → first names, last names.
NAMES = {
    "fr": (["Chloé", "Léa", "Jean-Luc", "Zoé", "Hugo", "Anaïs", "Noël", "Inès"],
           ["Lefèvre", "Martin", "D'Arcy", "Béranger", "de La Tour", "Gauthier", "Çelik"]),
    "de": (["Jürgen", "Änne", "Bernd", "Käthe", "Sören", "Lena", "Mia", "Özlem"],
           ["Müller", "Weiß", "von Ähren", "Groß", "Schmidt", "Brückner", "Yılmaz"]),
    "en": (["Grace", "Oliver", "Siobhán", "Amelia", "Rhys", "Niamh", "Jack", "Priya"],
           ["O'Neill", "Smith", "Patel", "Evans", "MacLeod", "Fitz-Gerald", "Brown"]),
    "es": (["Íñigo", "Lucía", "María José", "Álvaro", "Begoña", "Raúl"],
           ["Núñez", "García", "Peña López", "Ibáñez", "Martí"]),
    "pl": (["Łukasz", "Zofia", "Małgorzata", "Paweł", "Żaneta"],
           ["Wiśniewski", "Żak", "Dąbrowska", "Nowak", "Król"]),
    "sv": (["Åsa", "Björn", "Märta", "Göran", "Elin"],
           ["Sjögren", "Åkesson", "Lindström", "Öberg"]),
    "el": (["Ελένη", "Γιώργος", "Μαρία", "Νίκος"], ["Παπαδόπουλος", "Βλάχου", "Ιωάννου"]),
    "ja": (["美咲", "健太", "さくら", "翔"], ["佐藤", "髙橋", "渡邊", "鈴木"]),
    "pt": (["João", "Conceição", "Antônio", "Inês"], ["Gonçalves", "Araújo", "Simões", "da Silva"]),
}  # fmt: skip
# Name, category, price.
PRODUCTS = (
    ("Letterpress cards, set of 6", "paper", "14.90"),
    ("Dotted notebook A5", "paper", "12.50"),
    ("Linen notebook A4", "paper", "18.00"),
    ("Handmade paper, 20 sheets", "paper", "21.00"),
    ('Wrapping paper "Forêt"', "paper", "6.90"),
    ("Wall calendar", "paper", "24.00"),
    ("Fountain pen, fine", "writing", "39.00"),
    ("Fountain pen, broad", "writing", "39.00"),
    ("Brass ballpoint", "writing", "29.50"),
    ("Iron-gall ink, 50 ml", "writing", "11.90"),
    ('Ink "Meeresgrün", 50 ml', "writing", "13.90"),
    ("Pencils, set of 12", "writing", "15.00"),
    ("Beeswax sealing wax", "sealing", "8.50"),
    ("Seal with initial", "sealing", "19.00"),
    ("Oak desk tray", "desk", "49.00"),
    ("Brass paper clips", "desk", "7.90"),
    ("Cork desk mat", "desk", "34.00"),
    ("Desk lamp", "desk", "119.00"),
    ("Paper knife", "desk", "22.00"),
    ("Letter scale", "desk", "64.00"),
)
