"""The rows that stand for a claim until its runs of lab/plan.py are there: of commit 097c379.

Their block, optimizer and wording of the problems were others, three seeds each, 0 to 2, which also
chose settings. A row is named "FOLDER: NAME", or "FOLDER: NAME @UPDATES", in results/.
"""
from lab.plan import Change, Double, Gain, Value

ANSWERS = "depth-answers: nocot r={} --backbone recurrent{} --mean-r {}{}"
WHOLE = ANSWERS.format("{}", " --no-prefixes", 6, " --bucket 1")
CHAIN = " r=4 --backbone recurrent{} --mean-r 4 --bucket 1"
RECURRENT = "backbones: {} r=4 --backbone recurrent{} --mean-r 4"
EXPLORE = "explore: colar c=5 k={}{} on long"
PAUSE = " --curriculum steps --pauses 6"


def samples(flag, text):
    """What 16 samples find beyond one."""
    return Gain(EXPLORE.format(16, flag), EXPLORE.format(1, flag), text)


def twin(name, flags="", plain=None):
    """A method on the recurrent backbone against the plain one."""
    return Gain(RECURRENT.format(name, flags), plain or f"backbones: {name}{flags}",
                f"on the recurrent backbone, {name}", -2.0)


EARLIER = {     # number of the claim: ([what decides], the control)
    3: ([Gain("rl: colar+rl c=5 on long", "rl: colar c=5 on long @4000",
              "than before, on longer problems, c=5", 2.7),
         Change("rl: colar+rl c=5 on long", "rl: colar c=5 on long @4000",
                "thinking steps than before, on longer problems, c=5", -41.4)],
        Gain("rl: colar c=5 on long @6500", "rl: colar c=5 on long @4000",
             "than before, by 2,500 more supervised updates")),
    5: ([Double(samples("", ""), samples(" --head deterministic", ""),
                "gained by 16 samples than without the head's noise", 0.0)],
        samples(" --head deterministic", "right in 16 samples of words alone than in one")),
    7: ([Gain("assorted-prosqa: assorted --chunk 2", "assorted-prosqa: cot", "than CoT", 9.4)],
        Gain("assorted-prosqa: assorted --chunk 2", "latent-prosqa: nocot",
             "than answering at once")),
    8: ([Gain("replace: assorted", "default: cot", "than CoT, arithmetic", 2.0),
         Change("replace: assorted", "default: cot", "tokens than CoT, arithmetic", -10.0)],
        Gain("replace: assorted", "replace: assorted --replace random",
             "than with random codes")),
    9: ([Gain("replace: assorted", f"replace: assorted --replace {name}", f"than {called}", bound)
         for name, called, bound in (
             ("all", "all codes", 11.4), ("curriculum", "a curriculum", 11.0),
             ("poisson", "a Poisson number", 0.8))],
        Gain("replace: assorted", "replace: assorted --replace random",
             "than with random codes")),
    10: ([Gain(f"mixture: assorted latents={k}", "mixture: assorted latents=0",
               f"than text alone, after {k} code{'s' * (k > 1)}", -5.0) for k in (1, 2, 4, 6)],
         Value("mixture: assorted latents=2", "of 2 codes stand for the true words", "decoded")),
    16: ([Gain(ANSWERS.format(16, "", 6, ""), ANSWERS.format(1, "", 1, " --sampler fixed"),
               "than the twin with one iteration, arithmetic", 0.0),
          Gain(WHOLE.format(16), WHOLE.format(1), "at r=16 than at r=1, permutations", 10.0)],
         Value("deep: nocot r=16", "on permutations with the answers to every prefix")),
    19: ([*(Gain(f"depth-chain: {name}{CHAIN.format(flags)}", f"depth-chain: {name}{flags} "
                 "--bucket 1", f"on the recurrent backbone, {name}, permutations", -2.0)
            for name, flags in (("cot", ""), ("colar c=2", " --no-align"))),
          twin("nocot", plain="default: nocot @2000"), twin("pause", PAUSE), twin("icot"),
          twin("coconut"), twin("codi"),
          twin("assorted latents=999", plain="replace: assorted latents=999")],
         Value("backbones: codi", "on the plain backbone, codi")),
}
