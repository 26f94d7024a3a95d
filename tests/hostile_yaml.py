"""YAML and overrides that are made to hurt: what they hold, by name."""

from __future__ import annotations


def aliases(count: int, first: str = "[x, x, x, x, x, x, x, x, x]") -> str:
    """Lists of nine of the list before: nine to the power of ``count`` when expanded."""
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, count)]
    return "\n".join(lines)


def merges(count: int) -> str:
    """Maps that merge ten of the map before."""
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}], k{i}: 1}}" for i in range(1, count)]
    return "\n".join(lines)


def indented(levels: int) -> str:
    """Maps of one key each, by indentation."""
    return "\n".join(" " * i + "train:" for i in range(levels))


TEXTS = {
    "aliases nine to the ninth": aliases(9),
    "aliases nine to the ninth in a name": f"{aliases(9)}\nname: *a8",
    "aliases nine to the ninth in a known key": f"train:\n  start: {{{aliases(9).replace(chr(10), ', ')}}}",
    "aliases as keys": f"{aliases(7)}\n? *a6\n: 1",
    "a long text a thousand times": f"x: &x {'y' * 10_000}\nname: [{', '.join(['*x'] * 1000)}]",
    "aliases of aliases, deep": "a0: &a0 x\n" + "\n".join(f"a{i}: &a{i} [[*a{i - 1}]]" for i in range(1, 90)),
    "merge keys ten to the eighth": merges(9),
    "a merge of no map": "<<: 3",
    "a merge of a list of no maps": "<<: [3]",
    "lists 900 deep": "name: " + "[" * 900 + "]" * 900,
    "lists 5,000 deep": "name: " + "[" * 5000 + "]" * 5000,
    "lists that never end": "[" * 100_000,
    "maps 900 deep": "{train: " * 900 + "1" + "}" * 900,
    "maps 5,000 deep": "{train: " * 5000 + "1" + "}" * 5000,
    "lists of lists in a line": "- " * 5000 + "x",
    "keys of keys": "? " * 5000 + "x",
    "900 indentations": indented(900),
    "1,400 indentations": indented(1400),
    "a map that holds itself": "train: &t {loss: *t}",
    "a list that holds itself": "name: &n [*n]",
    "a base that holds itself": "_base_: &b [*b]",
    "an alias of nothing": "name: *n",
    "an anchor twice": "name: &a x\nseed: &a 3",
    "!!int z": "seed: !!int z",
    "!!float x": "train: {learning_rate: !!float x}",
    "!!bool 7": "data: {fresh: !!bool 7}",
    "!!null 7": "seed: !!null 7",
    "!!timestamp": "seed: !!timestamp 2020-13-41",
    "!!binary": "name: !!binary '=='",
    "!!set": "data: !!set {a, b}",
    "!!omap": "data: !!omap [a: 1]",
    "!!python/tuple": "name: !!python/tuple [1]",
    "!!python/object": "name: !!python/object/apply:os.getcwd []",
    "a tag of one's own": "name: !mine x",
    "a date": "seed: 2020-01-01",
    "a date that there is not": "seed: 2020-13-41",
    "a date and time that there is not": "seed: 2020-02-31T99:99:99Z",
    "5,000 digits": f"seed: {'9' * 5000}",
    "50,000 digits": f"seed: {'9' * 50_000}",
    "30 digits": f"seed: {'9' * 30}",
    "30 digits below 0": f"seed: -{'9' * 30}",
    "50,000 digits and underscores": f"seed: {'1_' * 25_000}x",
    "50,000 underscores": f"seed: 1{'_' * 50_000}x",
    "50,000 digits, a point and underscores": f"train: {{learning_rate: 1.{'_' * 50_000}e}}",
    "digits and colons": f"seed: {'1:' * 25_000}1",
    "signs": f"seed: {'+' * 50_000}",
    "a binary number of nothing": "seed: 0b_",
    "a hexadecimal number of nothing": "seed: 0x_",
    "a number of a point and an underscore": "train: {learning_rate: ._}",
    "5,000 hexadecimal digits": f"seed: 0x{'f' * 5000}",
    "an exponent of 300 digits": f"train: {{learning_rate: 1e{'9' * 300}}}",
    "an exponent of 4 digits": "train: {learning_rate: 1e9999}",
    "infinity": "train: {learning_rate: .inf}",
    "nan": "train: {weight_decay: .nan}",
    "a key twice": "seed: 1\nseed: 2",
    "a key twice, deep": "train: {epochs: 1, batch_size: 2, epochs: 3}",
    "a list as a key": "[1, 2]: 3",
    "a map as a key": "? {a: b}\n: 3",
    "null as a key": "null: 3",
    "nan as a key": ".nan: 3",
    "a boolean as a key": "true: 3",
    "a long key": f"{'k' * 100_000}: 3",
    "a key of escapes": '"\\e[31m\\e]0;x\\a": 3',
    "NUL in a name": 'name: "a\\0b"',
    "half a character": 'name: "\\ud800"',
    "NUL": "name: a\0b",
    "an escape": "name: \x1b[31m",
    "two documents": "seed: 1\n---\nseed: 2",
    "a version of the future": "%YAML 9.9\n---\nseed: 1",
    "an open quotation": "name: 'x",
    "an open list": "name: [x",
    "a tab": "train:\n\tepochs: 3",
    "21,000 values": "data: {source: {kind: files, paths: [" + "a, " * 21_000 + "]}}",
    "2 MB of a comment": "# x\n" * 500_000,
    "2 MB of a name": f"name: {'x' * 2_000_000}",
    "a text of 100,000 letters for a number": f"seed: {'x' * 100_000}",
    "a list of 5,000 for a number": f"seed: [{'1, ' * 5000}]",
    "a scalar": "3",
    "a list": "- 1",
}  # fmt: skip
"""Each is refused."""

OVERRIDES = [
    "model.encoder.channels=1e9", "model.encoder.channels=1000000000", "model.latent.size=100000000000",
    "data.events.train=1000000000000000000", "seed=1e20", "seed=100000000000000000000", "seed=18446744073709551615",
    "seed=-1", "seed=2020-01-01", "train.batch_size=100000000000000000000", "train.batch_size=1e20",
    "train.threads=1000000000", "train.epochs=1000000000000", "train.learning_rate=.nan", "train.learning_rate=0",
    "train.weight_decay=.inf", "train.kl_weight=-1e30",
    "train.loss={name: weighted_sum, terms: [{name: bce, weight: .nan}]}",
    "data.source.sigma_t_ps=.nan", "data.source.sigma_t_ps=-5", "data.source.sigma_t_ps=[.nan, 3.0]",
    "data.source.sigma_t_ps=[5.0, 3.0]", "data.source.momentum_gev=[0, 0]", "data.source.momentum_gev=[-5, -1]",
    "data.source.momentum_gev=[1.0, .inf]", "data.source.momentum_gev=[a, b]", "data.source.momentum_gev=[[1], 2]",
    "data.source.noise=100000000000", "data.source.noise=[1, 100000000000]", "data.source.noise=[a, 1]",
    "data.source.tracks=1000000000", "data.source={kind: patterns, mixture: {cross: 0.0}}",
    "data.source={kind: patterns, mixture: {cross: .nan}}", "data.source={kind: patterns, mixture: {}}",
    "data.source={kind: files, paths: [a.h5], window_ns: .inf}", "data.source.kind=[1]", "data.source.kind={}",
    "model.encoder={name: sparse, kernel_size: [99999, 99999, 99999]}", "model.encoder={name: sparse, octaves: 99}",
    "model.encoder={name: dense2d, channels: [1, 2, 100000000]}", "evaluate.retention=.nan", "evaluate.retention=1.5",
    "evaluate.pictures=1000000000000", "name=", "name=" + "x" * 300, "=3", "seed", "seed=*a", "seed=[", "²=3",
    "data.schedule.²=3", "data.schedule.-1={}", ".".join("a" * 5000) + "=1", "x" * 100_000 + "=1",
    "seed=" + "[" * 5000, "seed=" + "1:" * 20_000, "seed=\x1b[31m", "seed=\ud800", "train.loss.terms.0.name=bce",
]  # fmt: skip
"""Each is refused with the name of its key."""
