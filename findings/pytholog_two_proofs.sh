#!/bin/sh
# pytholog 2.4.1; 2026-11-29
# Expected: as in Prolog, what can be proved in two ways is true, and a question's variables may
#   have any names.
# Seen: one proof is Yes, none is No, and two are No again: from a to d by b or by c there is no
#   path, though path(a,X) finds d (twice). Once path(P,Q) was asked, answers to path(Q,P) have
#   no Q.
set -e
sed -n 's/^# //p; /^set -e/q' "$0"
folder=$(mktemp -d)
export TMPDIR="$folder"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pytholog==2.4.1 more-itertools==11.2.1
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import sys

from pytholog import Expr, KnowledgeBase

graph = KnowledgeBase("graph")
graph(["edge(a,b)", "edge(a,c)", "edge(b,d)", "edge(c,d)", "edge(d,e)",
       "path(X,Y):-edge(X,Y)", "path(X,Y):-edge(X,Z),path(Z,Y)"])


def ask(question):
    answer = graph.query(Expr(question))
    print(question, "->", *answer[:6], "..." * (len(answer) > 6))
    return answer


one, two, none = ask("path(b,e)"), ask("path(a,d)"), ask("path(e,a)")
ends = [binding["X"] for binding in ask("path(a,X)")]
names = [sorted(binding) for binding in ask("path(P,Q)")]
turned = [sorted(binding) for binding in ask("path(Q,P)")]
changed = ([one, two, none] != [["Yes"], ["No"], ["No"]] or ends.count("d") != 2
           or ["P", "Q"] not in names or any("Q" in binding for binding in turned))
sys.exit("what is seen has changed" if changed else 0)
END
