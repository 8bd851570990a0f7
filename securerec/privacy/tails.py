"""How far noise reaches: what a secure sum's fields must hold so that nothing ever wraps."""

from collections.abc import Callable

from protocols.spec import tail_factor


def tail_sigma(
    exponent: Callable[[float], float], *, sigma: float, length: int, max_clients: int, min_clients: int
) -> float:
    """The least `noise_sigma` for `protocols.SumSpec`, to a relative 1e-9 from above, whose bounds hold for this noise.

    exponent(y): P(X >= y) <= exp(-exponent(y)) for one client's symmetric noise X of deviation `sigma`, and
    n exponent(y / n) for a sum of n. The bounds of a SumSpec are those of a sub-Gaussian variable: one client's noise
    within noise_sigma t_1 with t_1 = tail_factor(length max_clients), a sum of n within noise_sigma t sqrt(n) with t =
    tail_factor(length), each but for a probability that exp(-t_1^2 / 2) and exp(-t^2 / 2) stand for. So it takes
    exponent(noise_sigma t_1) >= t_1^2 / 2 and n exponent(noise_sigma t / sqrt n) >= t^2 / 2.

    The second for n = min_clients implies it for every larger n, where the logarithm of E exp(sX) is a convex function
    phi of s^2, as it is for the Skellam law (v (cosh s - 1)) and for the discrete Laplace (-ln(1 - u), u a multiple of
    cosh s - 1): then exponent(y) = sup over w of y sqrt(w) - phi(w) is concave in y^2, being a maximum over w of a
    jointly concave function of (y^2, w), and it is 0 at 0, so n exponent(a / sqrt n) does not fall as n grows.
    """
    one, many = tail_factor(length * max_clients), tail_factor(length)

    def holds(tried: float) -> bool:
        of_sum = min_clients * exponent(tried * many / min_clients**0.5)
        return exponent(tried * one) >= one * one / 2 and of_sum >= many * many / 2

    low = high = sigma
    while not holds(high):
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
