"""The tasks: each module is one, a subclass of `base.Task`."""

from .autoencoder import Autoencoder
from .base import Batch, Params, State, Task, chosen, model_of, pick, scatter
from .digits import Digits
from .images import Images
from .language_model import LanguageModel
from .transformer import Transformer
from .word2vec import Word2vec

__all__ = ["TASKS", "Batch", "Params", "State", "Task", "chosen", "model_of", "pick", "scatter"]

TASKS: dict[str, Task] = {
    "images": Images(),
    "autoencoder": Autoencoder(),
    "word2vec": Word2vec(),
    "language_model": LanguageModel(),
    "digits": Digits(),
    "transformer": Transformer(),
}
