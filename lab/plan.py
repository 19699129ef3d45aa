"""What decides each claim, and the runs that it takes: fixed before the first of them. Data alone.

lab/claims.py computes the verdicts, lab/reproduce.py runs the commands. A result counts for a claim
only if the commit that made it has the same deciding quantities and bounds as today, and the same
commands (tests/lab/test_plan.py).

Bounds are mostly half of a gain that the paper reports, or all of a cost; else our choice. None is
weaker than in claims.py of commit 097c379. Settings were chosen with seeds 0 to 2. Verdicts use
others, from 10 on, and problems that no table had before (`fresh` in data/common.py), the same for
all seeds.

A row is named "RUN: METHOD SETTING", as "colar: colar c=2". A "*" in it stands for anything: then
the mean over all such rows counts.
"""
import re
from typing import NamedTuple


class Gain(NamedTuple):
    """The accuracy of one row minus another's, in points: "3.1 points more TEXT"."""
    one: str
    other: str
    text: str
    bound: float = None     # it must be at least this; None: it decides nothing
    moves: tuple = ()       # only on problems of these difficulties


class Double(NamedTuple):
    """One Gain minus another: "3.1 points more TEXT"."""
    first: Gain
    second: Gain
    text: str
    bound: float = None


class Change(NamedTuple):
    """By what share a column of one row differs from another's: "50.0% fewer TEXT"."""
    one: str
    other: str
    text: str
    bound: float = None     # in %: it must be at most this, which is below 0
    column: str = "steps"


class Value(NamedTuple):
    """A share as it is: "92.0% TEXT"."""
    one: str
    text: str
    column: str = "accuracy"


class Claim(NamedTuple):
    paper: str
    title: str
    says: str       # with the paper's numbers
    note: str       # what its control is there for; nothing that depends on the outcome


COLAR, CODES = "CoLaR, arXiv 2505.16552", "Token Assorted, arXiv 2502.03275"
DEPTH, OURS = "Recurrent depth, arXiv 2502.05171", "ours"
CLAIMS = {
    1: Claim(COLAR, "Half of the thinking steps cost little accuracy",
             "53.3% fewer steps cost 4.8 points (c=2, mean of four data sets).",
             "A method that answers at once takes no steps at all, so it is the control."),
    2: Claim(COLAR, "CoLaR is more accurate than latent methods with as many thoughts",
             "14.1 points more than them (mean of four data sets), 3.7 on the one trained on.",
             "Pause tokens hold no thoughts, only room to compute in."),
    3: Claim(COLAR, "Reinforcement on harder problems makes chains better and shorter",
             "5.4 points more with 82.8% fewer steps.",
             "The control is supervised training that goes on for as long."),
    4: Claim(COLAR, "One model thinks at any speed that its prompt asks for",
             "c=5 costs 12 points.",
             "The control shows what it costs to learn all speeds at once."),
    5: Claim(COLAR, "The noise of the latent head explores",
             "Sampled latents lead to different chains, of which some are right.",
             "The control is what samples of the words alone find."),
    6: Claim(CODES, "Mazes: codes are more often feasible than a written search, and shorter",
             "1-Feasible-10: 19.8 points more with 71% fewer tokens.",
             "Codes drawn at random show what is due to the shorter chain alone."),
    7: Claim(CODES, "ProsQA: codes are more accurate than a written chain",
             "18.7 points more than CoT; 1.2 on ProntoQA.",
             "Depth alone gives away many answers of ProsQA, hence the control without thoughts."),
    8: Claim(CODES, "Word problems: codes are more accurate than a written chain, and shorter",
             "GSM8K: 4.1 points more with 20% fewer tokens (3B parameters).",
             "Codes drawn at random show what is due to the mixture alone."),
    9: Claim(CODES, "A random number of codes beats other mixtures of codes and text",
             "22.9, 22.1 and 1.6 points more than all codes, a curriculum and a Poisson number.",
             "Codes drawn at random are a mixture whose codes say nothing."),
    10: Claim(CODES, "Text that follows codes is as good as text alone",
              "The late steps of a chain stay readable.",
              "The control says whether the codes before it stand for the true words."),
    11: Claim(DEPTH, "More iterations make a model more accurate",
              "ARC-E: 49.1% at r=4, 69.9% at r=32.",
              "The control asks whether more of them than that still help."),
    12: Claim(DEPTH, "Harder problems need more iterations",
              "Accuracy saturates later on harder benchmarks.",
              "The control is what iterations bring on easy problems."),
    13: Claim(DEPTH, "Stopping early saves iterations at no loss",
              "12 of 32 iterations are saved.",
              "What is saved in iterations need not be saved in time."),
    14: Claim(DEPTH, "Iterations can share a slot of the cache at no loss",
              "A cache of 4 slots for 32 iterations loses nothing.",
              "Where iterations are worth nothing, sharing costs nothing, either."),
    15: Claim(DEPTH, "Iterations improve a chain of thought",
              "Recurrence and written chains combine.",
              "A written chain alone is the control."),
    16: Claim(DEPTH, "Iterations need no special training data",
              "It is trained on ordinary text, without chains of thought.",
              "The control has the answer to every prefix of a question to learn from."),
    17: Claim(DEPTH, "Iterations get more out of as many parameters",
              "GSM8K: 10.2%, its twin with one iteration 2.2%.",
              "The control compares them on problems longer than any in training."),
    18: Claim(DEPTH, "Iterations solve problems harder than any in training",
              "Test-time iterations extrapolate.",
              "A plain decoder of as many layers is the control."),
    19: Claim(OURS, "Every method keeps its accuracy on the recurrent backbone",
              "Ours, so that recurrence and the methods can be combined.",
              "How accurate the plain backbone is says how much there is to lose."),
    20: Claim(OURS, "Every method's thoughts are used: another problem's make the answer wrong",
              "Ours, of all latent methods together.",
              "A written chain is the yardstick."),
    21: Claim("arXiv 2607.20594", "More iterations than in training solve longer problems",
              "Positions solved per iteration: training length over training iterations.",
              "Layers that share no weights are the control."),
    22: Claim("arXiv 2509.23314", "An exit by the second difference saves more iterations",
              "It is ahead of exits by KL and by the state at equal accuracy.",
              "The exit by the state is the control."),
    23: Claim(OURS, "CoLaR is ahead of a written chain that is as short",
              "Ours; users of CoLaR's code ask why not simply that.",
              "The control says whether the two are equally long."),
    24: Claim(OURS, "Coconut keeps its accuracy with more thoughts than in training",
              "Ours; users of Coconut's code report that it falls.",
              "Without thoughts it shows what they are worth."),
}


# ---- the runs ------------------------------------------------------------------------------------

FIRST_SEED = 10
TESTED = "--test-split fresh --test-n 1000"


class Run(NamedTuple):
    """A command for each of its seeds: `of` completes it."""
    command: str            # {colar}: the folder of that run with the same seed
    minutes: float          # of a seed on one core; a guess until one has been measured
    seeds: int = 8          # from FIRST_SEED on; 5 where a seed takes more than ten minutes


def folder(name, seed):
    """The run folder of a seed."""
    return f"runs/evidence/{name}-s{seed}"


def of(name, seed):
    """The command of a seed, without "python"; an evaluation's still lacks --json."""
    command = RUNS[name].command
    for parent in parents(name):
        command = command.replace("{%s}" % parent, folder(parent, seed))
    if command.startswith("train.py"):
        return f"{command} {TESTED} --threads 1 --seed {seed} --out {folder(name, seed)}"
    if command.startswith("rl.py"):     # its test problems are fresh if those of its start are
        return f"{command} --test-n 1000 --threads 1 --seed {seed} --out {folder(name, seed)}"
    return command


def parents(name):
    """The runs that a run starts from."""
    return re.findall(r"{([\w-]+)}", RUNS[name].command)


def seeds(name):
    return range(FIRST_SEED, FIRST_SEED + RUNS[name].seeds)


WORDS = "--shuffle"             # arithmetic in today's defaults, statements in random order
STEPS = "--optimizer adamw --lr 2e-3 --weight-decay 0.01 --decay 0.5 --conv 4"  # of 097c379
MOVES = "--task permutation --bucket 1"
NAMES = f"--task prosqa --batch 32 {STEPS}"
MAZE = "--task maze --level open --conv 4"
DEEP, LOOPS = "--backbone recurrent --mean-r 6", "--backbone recurrent --mean-r 4"
PAUSE = "--pauses 6 --curriculum steps"
FRESH, LONG = "--split fresh --n 1000", "--split long-fresh --n 1000"
RUNS = {
    # arithmetic
    "cot": Run(f"train.py --method cot {WORDS} --steps 2400", 3.0),
    "cot-long": Run(f"train.py --method cot {WORDS} --steps 5400", 6.0),
    "nocot": Run(f"train.py --method nocot {WORDS} --steps 5400", 2.7),
    "short-cot": Run(f"train.py --method cot {WORDS} --chain short --steps 5400", 3.0),
    "colar": Run(f"train.py --method colar {WORDS} --init {{cot}}", 6.0),
    "colar-c5": Run(f"train.py --method colar {WORDS} --init {{cot}} --c-train 5", 3.0),
    "colar-still": Run(f"train.py --method colar {WORDS} --init {{cot}} --head deterministic", 6.0),
    "coconut": Run(f"train.py --method coconut {WORDS} --steps 5400", 6.0),
    "codi": Run(f"train.py --method codi {WORDS} --steps 5400", 7.0),
    "pause": Run(f"train.py --method pause {PAUSE} {WORDS} --steps 5400", 4.0),
    "icot": Run(f"train.py --method icot {WORDS} --steps 5400", 4.0),
    "vqvae": Run(f"train.py --method vqvae {WORDS}", 3.0),
    **{f"assorted-{replace}": Run(
        f"train.py --method assorted {WORDS} --init {{vqvae}} --replace {replace}", 7.0)
       for replace in ("left", "all", "curriculum", "poisson", "random")},
    "samples": Run(f"eval.py {{colar}} {LONG} --c 5 --k 1,16 --sigma-min 0.1", 2.0),
    "samples-still": Run(f"eval.py {{colar-still}} {LONG} --c 5 --k 1,16", 2.0),
    "coconut-12": Run(f"eval.py {{coconut}} {FRESH} --latents 0,6,12", 1.0),
    "mixed": Run(f"eval.py {{assorted-left}} {FRESH} --latents 0,1,2,4,6", 1.0),
    **{f"thoughts-{name}": Run(f"-m lab.thoughts {{{name}}} {FRESH} {knobs}".rstrip(), 2.0)
       for name, knobs in (("cot", ""), ("colar", "--c 2,5"), ("assorted-all", "--latents 999"),
                           ("coconut", ""), ("codi", ""))},
    # arithmetic in its usual order, whose chains go on after the answer is known
    "redundant-cot": Run("train.py --method cot --chain redundant --steps 1200", 2.0),
    "redundant": Run("train.py --method colar --chain redundant --init {redundant-cot}", 6.0),
    "rl-redundant": Run("rl.py {redundant} --c 5 --length-penalty 1", 7.0),
    "more-redundant": Run("train.py --method colar --chain redundant --init {redundant-cot} "
                          "--steps 3500", 9.0),     # 2,000 more: the minutes of rl-redundant
    "more-redundant-long": Run(f"eval.py {{more-redundant}} {LONG} --c 5", 0.2),
    # arithmetic at size mini, where a written chain is not learned in full
    "mini-cot": Run(f"train.py --method cot --size mini {WORDS} --steps 1280", 1.0),
    "mini-vqvae": Run(f"train.py --method vqvae --size mini {WORDS}", 0.7),
    **{f"mini-assorted-{replace}": Run(
        f"train.py --method assorted --size mini {WORDS} --init {{mini-vqvae}} --replace {replace}",
        2.0) for replace in ("left", "random")},
    # arithmetic in its usual order, from answers alone
    "answers": Run(f"train.py --method nocot {DEEP} {STEPS} --batch 32 --steps 3000", 6.0),
    "answers-twin": Run("train.py --method nocot --backbone recurrent --sampler fixed --mean-r 1 "
                        f"{STEPS} --batch 32 --steps 3000", 3.0),
    # permutations
    "deep": Run(f"train.py --method nocot {MOVES} {DEEP} --batch 64 --steps 3000", 5.0),
    "deep-2": Run(f"train.py --method nocot {MOVES} --backbone recurrent --mean-r 2 --batch 64 "
                  "--steps 3000", 4.0),
    "twin": Run(f"train.py --method nocot {MOVES} --backbone recurrent --sampler fixed --mean-r 1 "
                "--batch 64 --steps 3000", 3.3),
    "layers": Run(f"train.py --method nocot {MOVES} --layers 8 --batch 64 --steps 3000", 7.0),
    "deep-long": Run(f"eval.py {{deep}} {LONG} --r 1,4,6,8,16,64", 1.0),
    "deep-2-long": Run(f"eval.py {{deep-2}} {LONG} --r 1,2,4,8,16", 0.4),
    "twin-long": Run(f"eval.py {{twin}} {LONG} --r 1", 0.1),
    "layers-long": Run(f"eval.py {{layers}} {LONG}", 0.1),
    "deep-more": Run(f"eval.py {{deep}} {FRESH} --r 16,64", 0.7),
    "deep-exit": Run(f"eval.py {{deep}} {FRESH} --r 16 --exit none,kl --threshold 1e-5", 0.3),
    "deep-exit2": Run(f"eval.py {{deep}} {FRESH} --r 16 --exit kl,latent,second "
                      "--threshold 0.001,0.1,1", 1.0),  # of each the largest that lost < 0.5 points
    "moves-cot": Run(f"train.py --method cot {MOVES} --batch 32 --steps 1500", 2.0),
    "moves-cot-r": Run(f"train.py --method cot {MOVES} --batch 32 {LOOPS} --steps 1500", 5.0),
    "moves-colar": Run(f"train.py --method colar --no-align {MOVES} --batch 32 "
                       "--init {moves-cot} --steps 2000", 5.0),
    "moves-colar-r": Run(f"train.py --method colar --no-align {MOVES} --batch 32 {LOOPS} "
                         "--init {moves-cot-r} --steps 2000", 15.0, 5),
    "share": Run(f"eval.py {{moves-cot-r}} {FRESH} --r 1,16 --share 0,1", 0.5),
    # mazes: a code for each node of the search; equal updates in all, the VQ-VAE's included
    "cot-maze": Run(f"train.py --method cot {MAZE} --steps 7000", 12.0, 5),
    "vqvae-maze": Run(f"train.py --method vqvae {MAZE} --steps 1000", 2.0, 5),
    **{f"{name}-maze": Run(
        f"train.py --method assorted {MAZE} --mixtures 1 --init {{vqvae-maze}} --steps 6000 "
        f"--replace {replace}", 12.0, 5) for name, replace in (("codes", "left"),
                                                               ("random", "random"))},
    **{f"maze-{name}": Run(f"eval.py {{{name}-maze}} {FRESH} --k 10 --top-k 10", 3.0, 5)
       for name in ("cot", "codes", "random")},
    # ProsQA, in English and balanced
    "english-cot": Run(f"train.py --method cot {NAMES} --level tiny-text --steps 4000", 15.0, 5),
    "english-nocot": Run(f"train.py --method nocot {NAMES} --level tiny-text --steps 4000", 9.0, 5),
    "english-vqvae": Run(f"train.py --method vqvae {NAMES} --level tiny-text --steps 1000", 4.0, 5),
    "english-assorted": Run(f"train.py --method assorted {NAMES} --level tiny-text "
                            "--init {english-vqvae} --steps 3000", 25.0, 5),
    "balanced-cot": Run(f"train.py --method cot {NAMES} --balanced --steps 4500", 9.0, 5),
    "balanced-colar": Run(f"train.py --method colar {NAMES} --balanced --init {{balanced-cot}} "
                          "--steps 4500", 15.0, 5),
    "balanced-coconut": Run(f"train.py --method coconut {NAMES} --balanced --steps 9000", 16.0, 5),
    "thoughts-balanced-colar": Run(f"-m lab.thoughts {{balanced-colar}} {FRESH} --c 2", 2.0, 5),
    "thoughts-balanced-coconut": Run(f"-m lab.thoughts {{balanced-coconut}} {FRESH}", 2.0, 5),
    # arithmetic on the recurrent backbone
    "nocot-r": Run(f"train.py --method nocot {WORDS} {LOOPS} --steps 5400", 12.0, 5),
    "pause-r": Run(f"train.py --method pause {PAUSE} {WORDS} {LOOPS} --steps 5400", 15.0, 5),
    "icot-r": Run(f"train.py --method icot {WORDS} {LOOPS} --steps 5400", 15.0, 5),
    "coconut-r": Run(f"train.py --method coconut {WORDS} {LOOPS} --steps 5400", 20.0, 5),
    "codi-r": Run(f"train.py --method codi {WORDS} {LOOPS} --steps 5400", 20.0, 5),
    "vqvae-r": Run(f"train.py --method vqvae {WORDS} {LOOPS}", 8.0, 5),
    "assorted-r": Run(f"train.py --method assorted {WORDS} {LOOPS} --init {{vqvae-r}}", 30.0, 5),
}


# ---- what decides --------------------------------------------------------------------------------

class Decision(NamedTuple):
    decides: list       # Gains, Doubles and Changes, each with its bound
    control: tuple      # the number that they must be read beside
    needs: str = ""     # what the code still lacks, so that it cannot be run


def thoughts(run, row, text, bound=None):
    """What a method loses with one thought of another problem, thinking on: the mean over which."""
    one, other = (f"thoughts-{run}: {row} thoughts={how}, think on"
                  for how in ("as thought", "replace *"))
    return Gain(one, other, f"than with a thought of another problem, {text}", bound)


def looped(run, row, plain, text):
    """What a method has on the recurrent backbone beyond its plain row."""
    return Gain(f"{run}: {row}", plain, f"on the recurrent backbone, {text}", -2.0)


EASY, HARD = (Gain("deep: nocot r=16", "deep: nocot r=1",
                   f"at r=16 than at r=1, on {a}-{b} moves", moves=(a, b))
              for a, b in ((3, 4), (11, 12)))
SECOND, BY_KL, BY_STATE = (f"deep-exit2: nocot r=16 exit={kind} threshold={value}"
                           for kind, value in (("second", 1.0), ("kl", 0.001), ("latent", 0.1)))
PLAN = {    # what is most worth running first
    1: Decision([Gain("colar: colar c=2", "cot-long: cot", "than CoT at equal updates, c=2", -4.8),
                 Change("colar: colar c=2", "cot-long: cot", "thinking steps than CoT, c=2",
                        -26.7)],
                Gain("colar: colar c=2", "nocot: nocot", "than no thoughts at equal updates, c=2")),
    4: Decision([Gain(f"colar: colar c={c}", "cot-long: cot",
                      f"than CoT at equal updates, c={c}", -12.0) for c in (2, 3, 4, 5)],
                Gain("colar: colar c=5", "colar-c5: colar c=5",
                     "than a model trained for c=5 alone")),
    2: Decision([Gain("colar: colar c=5", f"{name.lower()}: {name.lower()}",
                      f"than {name} at equal updates, c=5", 1.9) for name in ("Coconut", "CODI")],
                Gain("colar: colar c=5", "pause: pause", "than 6 pause tokens, c=5")),
    20: Decision([thoughts("colar", "colar c=2", "CoLaR, c=2", 20.0),
                  thoughts("colar", "colar c=5", "CoLaR, c=5", 20.0),
                  thoughts("assorted-all", "assorted latents=999", "codes", 20.0),
                  thoughts("coconut", "coconut", "Coconut", 20.0),
                  thoughts("codi", "codi", "CODI", 20.0),
                  thoughts("balanced-coconut", "coconut", "Coconut on balanced ProsQA", 20.0),
                  thoughts("balanced-colar", "colar c=2", "CoLaR on balanced ProsQA, c=2", 20.0)],
                 thoughts("cot", "cot", "CoT")),
    17: Decision([Gain("deep: nocot r=16", "twin: nocot r=1",
                       "than the twin of as many parameters", 0.0),
                  Gain("deep: nocot r=16", "layers: nocot",
                       "than a decoder of as many layers", -1.0)],
                 Gain("deep-long: nocot r=16", "layers-long: nocot",
                      "than a decoder of as many layers, longer problems")),
    18: Decision([Gain("deep-long: nocot r=16", "twin-long: nocot r=1",
                       "than the twin with one iteration, on 13-18 moves", 20.0)],
                 Gain("deep-long: nocot r=16", "layers-long: nocot",
                      "than a decoder of as many layers, on 13-18 moves")),
    15: Decision([Gain(f"moves-colar-r: colar c={c} r=4", f"moves-colar: colar c={c}",
                       f"by iterations under CoLaR, c={c}", 0.0) for c in (3, 4, 5)],
                 Gain("moves-cot-r: cot r=4", "moves-cot: cot", "by iterations under CoT")),
    6: Decision([Gain("maze-codes: assorted k=10 top_k=10", "maze-cot: cot k=10 top_k=10",
                      "than CoT, 1-Feasible-10", 9.9),
                 Change("maze-codes: assorted k=10 top_k=10", "maze-cot: cot k=10 top_k=10",
                        "tokens than CoT", -35.5)],
                Gain("maze-codes: assorted k=10 top_k=10", "maze-random: assorted k=10 top_k=10",
                     "than with random codes, 1-Feasible-10")),
    3: Decision([Gain("rl-redundant: colar+rl c=5", "rl-redundant: colar c=5",
                      "than before, on longer problems, c=5", 2.7),
                 Change("rl-redundant: colar+rl c=5", "rl-redundant: colar c=5",
                        "thinking steps than before, on longer problems, c=5", -41.4)],
                Gain("more-redundant-long: colar c=5", "rl-redundant: colar c=5",
                     "than before, by as many minutes of supervised training")),
    10: Decision([Gain(f"mixed: assorted latents={k}", "mixed: assorted latents=0",
                       f"than text alone, after {k} code{'s' * (k > 1)}", -5.0)
                  for k in (1, 2, 4, 6)],
                 Value("mixed: assorted latents=2", "of 2 codes stand for the true words",
                       "decoded")),
    5: Decision([Double(Gain("samples: colar c=5 k=16", "samples: colar c=5 k=1", ""),
                        Gain("samples-still: colar c=5 k=16", "samples-still: colar c=5 k=1", ""),
                        "gained by 16 samples than without the head's noise", 0.0)],
                Gain("samples-still: colar c=5 k=16", "samples-still: colar c=5 k=1",
                     "right in 16 samples of words alone than in one")),
    7: Decision([Gain("english-assorted: assorted", "english-cot: cot", "than CoT", 9.4)],
                Gain("english-assorted: assorted", "english-nocot: nocot",
                     "than answering at once")),
    8: Decision([Gain("mini-assorted-left: assorted", "mini-cot: cot", "than CoT, size mini", 2.0),
                 Change("mini-assorted-left: assorted", "mini-cot: cot", "tokens than CoT", -10.0)],
                Gain("mini-assorted-left: assorted", "mini-assorted-random: assorted",
                     "than with random codes, size mini")),
    9: Decision([Gain("assorted-left: assorted", f"assorted-{name}: assorted", text, bound)
                 for name, text, bound in (("all", "than all codes", 11.4),
                                           ("curriculum", "than a curriculum", 11.0),
                                           ("poisson", "than a Poisson number", 0.8))],
                Gain("assorted-left: assorted", "assorted-random: assorted",
                     "than with random codes")),
    11: Decision([Gain("deep: nocot r=16", "deep: nocot r=1", "at r=16 than at r=1", 10.0)],
                 Gain("deep-more: nocot r=64", "deep-more: nocot r=16", "at r=64 than at r=16")),
    12: Decision([Double(HARD, EASY, "gained on 11-12 moves than on 3-4", 10.0)], EASY),
    13: Decision([Change("deep-exit: nocot r=16 exit=kl threshold=1e-05",
                         "deep-exit: nocot r=16 threshold=1e-05",
                         "iterations than r=16", -25.0, "iterations"),
                  Gain("deep-exit: nocot r=16 exit=kl threshold=1e-05",
                       "deep-exit: nocot r=16 threshold=1e-05",
                       "than with all 16 iterations", -1.0)],
                 Change("deep-exit: nocot r=16 exit=kl threshold=1e-05",
                        "deep-exit: nocot r=16 threshold=1e-05",
                        "milliseconds in batches of 100", column="ms")),
    14: Decision([Change("share: cot r=16 share=1", "share: cot r=16 share=0",
                         "cached numbers per token", -50.0, "cache"),
                  Gain("share: cot r=16 share=1", "share: cot r=16 share=0",
                       "than with a slot for each iteration", -1.0)],
                 Gain("share: cot r=16 share=0", "share: cot r=1 share=0",
                      "at r=16 than at r=1, a slot for each iteration")),
    16: Decision([Gain("answers: nocot r=16", "answers-twin: nocot r=1",
                       "than the twin with one iteration, arithmetic", 0.0),
                  Gain("grown: nocot r=16", "grown: nocot r=1",
                       "at r=16 than at r=1, permutations", 10.0)],
                 Gain("grown: nocot r=16", "grown-twin: nocot r=1",
                      "than the twin with one iteration, permutations"),
                 "a recipe for permutations with --grow, chosen with seeds 0 to 2"),
    19: Decision([looped("moves-cot-r", "cot r=4", "moves-cot: cot", "CoT, permutations"),
                  looped("moves-colar-r", "colar c=2 r=4", "moves-colar: colar c=2",
                         "CoLaR at c=2, permutations"),
                  *(looped(f"{name}-r", f"{name} r=4", f"{name}: {name}", text)
                    for name, text in (("nocot", "no thoughts"), ("pause", "pauses"),
                                       ("icot", "iCoT"), ("coconut", "Coconut"),
                                       ("codi", "CODI"))),
                  looped("assorted-r", "assorted latents=999 r=4",
                         "assorted-left: assorted latents=999", "codes")],
                 Value("codi: codi", "on the plain backbone, CODI")),
    21: Decision([Gain("deep-2-long: nocot r=8", "deep-2-long: nocot r=2",
                       "at r=8 than at r=2, the mean in training, on 13-18 moves", 10.0)],
                 Gain("deep-2-long: nocot r=8", "layers-long: nocot",
                      "than layers that share no weights")),
    22: Decision([Change(SECOND, BY_KL, "iterations than the exit by KL", 0.0, "iterations"),
                  Gain(SECOND, BY_KL, "than the exit by KL", -1.0)],
                 Change(SECOND, BY_STATE, "iterations than the exit by the state",
                        column="iterations")),
    23: Decision([Gain("colar: colar c=5", "short-cot: cot",
                       "than a written chain of as many words, c=5", 0.0)],
                 Change("colar: colar c=5", "short-cot: cot", "thinking steps than that chain")),
    24: Decision([Gain("coconut-12: coconut latents=12", "coconut-12: coconut latents=6",
                       "with twice as many thoughts as in training", -1.0)],
                 Gain("coconut-12: coconut latents=0", "coconut-12: coconut latents=6",
                      "without any of the thoughts in training")),
}


def rows_of(spec):
    """The names of all rows that a Gain, Double ... or a list of them speaks of."""
    if isinstance(spec, str):
        return [spec] if ": " in spec else []
    if not isinstance(spec, (tuple, list)):
        return []
    return [row for part in spec for row in rows_of(part)]


def runs_of(number):
    """The runs of a claim, each once, after those that it starts from; without those that the code
    lacks something for."""
    found = []
    for row in rows_of(PLAN[number][:2]):
        name = row.split(": ")[0]
        found += [one for one in line_of(name) if one not in found] if name in RUNS else []
    return found


def line_of(name):
    """A run after all that it starts from."""
    return [one for parent in parents(name) for one in line_of(parent)] + [name]


def seeds_of(number):
    """How many seeds the plan has for a claim: of the run that has the fewest."""
    return min((RUNS[name].seeds for name in runs_of(number)), default=0)
