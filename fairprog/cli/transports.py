"""The classes of maps by the names of the command line."""

from fairprog.transports import Diagonal, Monotone, Scaling, Translation, Transport, Whitened

TRANSPORTS: dict[str, type[Transport]] = {
    "monotone": Monotone,
    "whitened": Whitened,
    "diagonal": Diagonal,
    "scaling": Scaling,
    "translation": Translation,
}
