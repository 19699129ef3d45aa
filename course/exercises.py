"""The exercises of homework.py: functions of the project, the tests that grade each, and mistakes.

A mistake is a mutation of the right function. tests/test_course.py proves that the graders of an
exercise pass the right function and catch each of its mistakes.
"""
from dataclasses import dataclass


@dataclass
class Mistake:
    old: str        # text that occurs once in the right function
    new: str        # what a wrong one has there
    hint: str
    fails: list     # the graders that fail then; [] stands for all of them


@dataclass
class Exercise:
    task: str       # what is to be written, in one line
    graders: list   # pytest's names of tests
    mistakes: list
    needs: list     # exercises whose functions the graders call, too


EXERCISES = {}      # {name: Exercise}, each after those that it needs


def exercise(name, task, file, graders, *mistakes, needs=()):
    """Adds an exercise. graders: tests of tests/`file`, by their names without "test_"; a mistake:
    (old, new, hint), and after them the graders that fail, if not all do."""
    tests = {short: f"tests/{file}::test_{short}" for short in graders.split()}
    found = [Mistake(old, new, hint, [tests[short] for short in fails] or list(tests.values()))
             for old, new, hint, *fails in mistakes]
    EXERCISES[name] = Exercise(task, list(tests.values()), found, list(needs))


exercise(
    "data.rows.wilson", "Wilson's interval of a share", "test_train.py",
    "wilson_interval the_ends_of_wilson_are_z_standard_errors_away "
    "the_middle_of_wilson_is_pulled_to_a_half wilson_at_z_0_is_the_share",
    ("math.sqrt(p * (1 - p) / n + z2 / (4 * n))", "math.sqrt(p * (1 - p) / n)",
     "the middle is right, the width is Wald's, which is 0 at a share of 0 or 1: those vary, too",
     "wilson_interval", "the_ends_of_wilson_are_z_standard_errors_away"),
    ("p + z2 / 2, 1 + z2", "p, 1",
     "the middle is that of n + z^2 tries, half of the z^2 right, and not the share itself",
     "wilson_interval", "the_ends_of_wilson_are_z_standard_errors_away",
     "the_middle_of_wilson_is_pulled_to_a_half"),
    ("half = z * math", "half = math",
     "an interval of z standard errors has no width at z = 0: half the width is in proportion to z",
     "wilson_interval", "the_ends_of_wilson_are_z_standard_errors_away",
     "wilson_at_z_0_is_the_share"),
    ("max(0.0, min(p, low)), min(1.0, max(p, high))", "low, high",
     "right but for rounding: at a share of 0 or 1 the end is just that, and not 1e-17 beside it",
     "wilson_interval"))
exercise(
    "data.rows.pass_at", "pass@k without bias", "test_train.py",
    "pass_at_k_equals_counting pass_at_1_is_the_share pass_at_k_does_not_fall_with_k "
    "pass_at_all_is_sure_if_one_is_right",
    ("1 - math.comb(n - right, k) / math.comb(n, k)", "1 - (1 - right / n) ** k",
     "who draws all n samples has the right one: they are drawn without replacement",
     "pass_at_k_equals_counting", "pass_at_all_is_sure_if_one_is_right"),
    ("1 - math.comb(n - right, k)", "math.comb(right, k)",
     "it falls as k grows: that is the chance that all k are right; asked is that at least one is",
     "pass_at_k_equals_counting", "pass_at_k_does_not_fall_with_k",
     "pass_at_all_is_sure_if_one_is_right"),
    ("1 - math.comb", "math.comb",
     "it falls as k grows, and pass@1 is the share of wrong ones: the chance that none is right"),
    ("1 - math.comb(n - right, k) / math.comb(n, k)", "min(1, k * right / n)",
     "k chances cannot be added: two of the k samples may be right at once",
     "pass_at_k_equals_counting"))
exercise(
    "model.rotate", "rotary positions", "test_model.py",
    "rope_depends_on_distance_only equals_the_reference rotate_keeps_the_norm "
    "half_a_turn_changes_the_sign rotate_mixes_only_numbers_half_a_row_apart",
    ("x.roll(x.shape[-1] // 2, -1)", "x",
     "the norm changes: a number turns with its partner in the other half, not with itself",
     "equals_the_reference", "rotate_keeps_the_norm"),
    ("sin)", "-sin)", "a rotation, but the wrong way round: `sin` has the minus already",
     "equals_the_reference"),
    ("x * cos", "x", "half a turn has to give -x: all of x is multiplied by cos",
     "rope_depends_on_distance_only", "equals_the_reference", "rotate_keeps_the_norm",
     "half_a_turn_changes_the_sign"),
    ("x.roll(x.shape[-1] // 2, -1)", "x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)",
     "pairs are numbers half a row apart, as in Llama, not neighbours as in the paper",
     "equals_the_reference", "rotate_keeps_the_norm", "rotate_mixes_only_numbers_half_a_row_apart"),
    ("x.roll(x.shape[-1] // 2, -1)", "torch.cat([-x.chunk(2, -1)[1], x.chunk(2, -1)[0]], -1)",
     "the norm changes, though half a turn is right: `sin` has a minus, and here is a second one",
     "rope_depends_on_distance_only", "equals_the_reference", "rotate_keeps_the_norm"))
exercise(
    "train.learning_rate", "warm-up, a plateau, a line to 0", "test_train.py",
    "learning_rate_schedule the_rate_rises_in_equal_steps_from_the_first "
    "the_rate_stays_between_warm_up_and_decay the_rate_would_reach_0_just_after_the_last_step "
    "the_rate_is_the_lower_one_where_warm_up_meets_decay",
    ("(step + 1)", "step", "warm-up starts at 0: the first step, too, has a rate",
     "learning_rate_schedule", "the_rate_rises_in_equal_steps_from_the_first",
     "the_rate_is_the_lower_one_where_warm_up_meets_decay"),
    ("config[\"steps\"] - step", "config[\"steps\"] - step - 1",
     "the rate is 0 in the last step, which then does nothing",
     "learning_rate_schedule", "the_rate_would_reach_0_just_after_the_last_step",
     "the_rate_is_the_lower_one_where_warm_up_meets_decay"),
    ("min(1, ", "min(", "there is no plateau: the rate never exceeds config[\"lr\"]",
     "learning_rate_schedule", "the_rate_stays_between_warm_up_and_decay"),
    ("config[\"decay\"] * config[\"steps\"]", "config[\"steps\"]",
     "the rate falls from the first step on; it falls only in the last share of them, `decay`"),
    ("config[\"decay\"]", "(1 - config[\"decay\"])",
     "`decay` is the share of steps with a falling rate, not the one before: right at 1/2 alone",
     "the_rate_stays_between_warm_up_and_decay",
     "the_rate_would_reach_0_just_after_the_last_step",
     "the_rate_is_the_lower_one_where_warm_up_meets_decay"))
exercise(
    "data.muon.orthogonal", "Newton and Schulz's steps of Muon", "test_train.py",
    "orthogonal_matrices_have_singular_values_near_one muon_is_that_of_torch "
    "orthogonal_does_not_see_the_scale orthogonal_of_a_matrix_does_not_see_the_others "
    "orthogonal_raises_small_singular_values orthogonal_keeps_the_shape "
    "orthogonal_of_zeros_is_zero",
    ("x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)", "x",
     "100 x and x have the same singular vectors: without |x| = 1 the steps diverge",
     "orthogonal_matrices_have_singular_values_near_one", "muon_is_that_of_torch",
     "orthogonal_does_not_see_the_scale"),
    ("beta=a", "beta=1",
     "a step multiplies a tiny singular value by a = 3.4445; here it stays as small as it was",
     "orthogonal_matrices_have_singular_values_near_one", "muon_is_that_of_torch",
     "orthogonal_raises_small_singular_values"),
    ("range(5)", "range(1)", "small values grow, but not up to 0.7: how many steps are there?",
     "orthogonal_matrices_have_singular_values_near_one", "muon_is_that_of_torch"),
    ("x.norm(dim=(1, 2), keepdim=True)", "x.norm()",
     "a matrix changes with those beside it: each has a norm of its own",
     "orthogonal_matrices_have_singular_values_near_one", "muon_is_that_of_torch",
     "orthogonal_of_a_matrix_does_not_see_the_others"),
    ("return x.mT if tall else x", "return x",
     "a tall matrix comes back wide: it was transposed, so that x x^T is the smaller one",
     "orthogonal_matrices_have_singular_values_near_one", "muon_is_that_of_torch",
     "orthogonal_keeps_the_shape"))
exercise(
    "colar.offsets", "where a token stands in its step or chain", "test_colar.py",
    "offsets_on_a_worked_example offsets_of_two_rows_equal_a_loop "
    "offsets_without_align_go_through_the_chain offsets_of_a_row_do_not_see_the_others "
    "offsets_of_a_chain_that_comes_first_are_its_columns",
    ("start = start | (thinking & (step != F.pad(step, (1, -1))))", "pass",
     "right through the chain; with align, a new step starts at 0 again",
     "offsets_on_a_worked_example", "offsets_of_two_rows_equal_a_loop"),
    (".cummax(1)", ".cummax(0)",
     "a row changes with those beside it: a step or chain starts to the left of its tokens",
     "offsets_on_a_worked_example", "offsets_of_two_rows_equal_a_loop",
     "offsets_without_align_go_through_the_chain", "offsets_of_a_row_do_not_see_the_others"),
    ("thinking & ~F.pad(thinking, (1, -1)) ", "thinking & False ",
     "a chain is counted from the start of the row: its own first token has the offset 0",
     "offsets_on_a_worked_example", "offsets_of_two_rows_equal_a_loop",
     "offsets_without_align_go_through_the_chain"),
    (".cummax(1).values", ".cummax(1).values + 1",
     "all start where they have to, but their first token has the offset 1, not 0",
     "offsets_on_a_worked_example", "offsets_of_two_rows_equal_a_loop",
     "offsets_without_align_go_through_the_chain",
     "offsets_of_a_chain_that_comes_first_are_its_columns"))
exercise(
    "colar.merge", "Eq. (1): a group's embeddings become one", "test_colar.py",
    "merge_equals_a_loop merge_keeps_the_variance_and_the_mean_does_not "
    "merge_by_mean_is_the_mean merge_does_not_see_the_order_in_a_group",
    ("POOLS[pool](n)", "n",
     "right for the pool `mean` alone: a mean of n unrelated embeddings has 1/n of the variance",
     "merge_equals_a_loop", "merge_keeps_the_variance_and_the_mean_does_not"),
    ("scatter_add(1, slot", "scatter(1, slot",
     "the order within a group matters: one embedding of it is kept, where all are to be summed"),
    (".clamp(min=1)", "",
     "right but for an empty slot: 0 / 0 is nan, and one nan spoils the batch",
     "merge_equals_a_loop"),
    ("total / POOLS[pool](n)", "total",
     "`pool` says what divides the sum, n or its root; undivided, the variance is n-fold",
     "merge_equals_a_loop", "merge_keeps_the_variance_and_the_mean_does_not",
     "merge_by_mean_is_the_mean"),
    ("size.clamp(min=1)", "size.amax().expand_as(size)",
     "right while groups are of one size: the n of a group is its own, and the last is often short",
     "merge_equals_a_loop", "merge_by_mean_is_the_mean"))
exercise(
    "colar.LatentHead.forward", "Eq. (2): mean and log sigma", "test_colar.py",
    "latent_head_equals_a_loop latent_head_keeps_sigma_within_its_bounds",
    (".clamp(*self.bounds)", "", "clamp log sigma to self.bounds: soft-MSE drives it to -inf",
     "latent_head_keeps_sigma_within_its_bounds"),
    ("return self.mean(u)", "return self.mean(u) + u.mean(-1, keepdim=True)",
     "the mean is self.mean(u) alone", "latent_head_equals_a_loop"),
    ("self.log_std(u).clamp", "self.log_std(u).exp().clamp",
     "log sigma is returned, not sigma: no exp here"))
exercise(
    "colar.latent_loss", "Eq. (3): soft-MSE and NLL", "test_colar.py",
    "latent_losses_equal_torch_distributions soft_mse_draws_one_eps_per_number",
    ("torch.randn_like(mu)", "torch.randn_like(mu[:, :1])",
     "one eps per number, not per vector: all numbers of a latent move together",
     "soft_mse_draws_one_eps_per_number"),
    ("log_sigma.exp() * torch", "log_sigma * torch",
     "Eq. (3) compares z / s with mu + sigma eps, not with mu, and sigma is exp(log_sigma)"),
    ("log_prob(target).mean(1)", "log_prob(target).sum(1)",
     "the NLL is a mean over dimensions, as the MSE is: no sum",
     "latent_losses_equal_torch_distributions"))
exercise(
    "colar.CoLaR.loss", "Eq. (5): everything together", "test_colar.py",
    "loss_equals_a_loop at_c_1_the_lm_loss_is_that_of_cot "
    "speeds_that_branch_off_one_question_are_as_if_alone "
    "the_latent_loss_is_of_embeddings_over_their_std no_word_is_predicted_from_itself",
    (".detach() / self.std", ".detach()",
     "Eq. (2): the head predicts z / s, so its loss depends on s; here it does not",
     "loss_equals_a_loop", "speeds_that_branch_off_one_question_are_as_if_alone",
     "the_latent_loss_is_of_embeddings_over_their_std"),
    ("latent = part < ANSWER", "latent = part < CLOSE",
     "the LM loss is right, the latent one is not: the embedding of </think> is predicted, too",
     "loss_equals_a_loop", "speeds_that_branch_off_one_question_are_as_if_alone"),
    ("said = part > OPEN", "said = part > CHAIN",
     "at c = 1 the LM loss is not CoT's: the words of the thoughts are labels, too",
     "loss_equals_a_loop", "at_c_1_the_lm_loss_is_that_of_cot",
     "speeds_that_branch_off_one_question_are_as_if_alone"),
    ("at=said[:, 1:]", "at=said[:, :-1]",
     "a slot is predicted from the state at it, which has read it, not from the one before",
     "loss_equals_a_loop", "at_c_1_the_lm_loss_is_that_of_cot",
     "speeds_that_branch_off_one_question_are_as_if_alone", "no_word_is_predicted_from_itself"),
    ("mean_over_speeds(apart, branch[latent])", "apart.mean()",
     "right at one speed; of several, each is to weigh the same, however many latents it has",
     "speeds_that_branch_off_one_question_are_as_if_alone"),
    needs=["model.rotate", "colar.offsets", "colar.merge", "colar.LatentHead.forward",
           "colar.latent_loss"])
exercise(
    "rl.advantages", "Eq. (2): rewards within groups", "test_rl.py",
    "advantages_equal_a_loop advantages_of_a_group_have_mean_0_and_std_1 "
    "advantages_do_not_depend_on_the_scale_of_a_reward "
    "advantages_of_an_option_do_not_depend_on_another "
    "advantages_are_0_where_all_rewards_are_equal",
    ("(n - 1).clamp(min=1)", "n", "the unbiased std divides by n - 1",
     "advantages_equal_a_loop", "advantages_of_a_group_have_mean_0_and_std_1"),
    ("torch.where(some, centred / (spread + 1e-8), 0)", "centred",
     "divide by the group's std: hard and easy questions then weigh the same",
     "advantages_equal_a_loop", "advantages_of_a_group_have_mean_0_and_std_1",
     "advantages_do_not_depend_on_the_scale_of_a_reward"),
    ("peers = (option[:, :, None] == option[:, None])", "peers = (option[:, :, None] == "
     "option[:, :, None]).expand(-1, -1, option.shape[1])",
     "a group is the rollouts of a question with the same `option`, not all of them",
     "advantages_equal_a_loop", "advantages_of_an_option_do_not_depend_on_another"))
exercise(
    "rl.objective", "Eq. (3) and (4): the clipped gain", "test_rl.py",
    "objective_equals_a_loop a_clipped_ratio_and_a_zero_advantage_have_no_gradient "
    "at_the_old_policy_the_loss_is_minus_the_advantage a_ratio_near_1_multiplies_the_advantage "
    "what_is_wrong_and_got_likelier_counts_in_full padding_changes_no_objective",
    ("torch.minimum", "torch.maximum",
     "Eq. (4) takes the worse of two gains; here a wrong action that got likelier costs too little",
     "objective_equals_a_loop", "a_clipped_ratio_and_a_zero_advantage_have_no_gradient",
     "what_is_wrong_and_got_likelier_counts_in_full"),
    ("clipped * A[:, None])", "rho * A[:, None])",
     "beyond 1 + eps a right action is still pushed: one of the two gains has the clipped ratio",
     "objective_equals_a_loop", "a_clipped_ratio_and_a_zero_advantage_have_no_gradient"),
    ("(logp - old[kind][0])", "(old[kind][0] - logp)",
     "Eq. (3): a right action that got likelier gains more; here the ratio is upside down",
     "objective_equals_a_loop", "a_clipped_ratio_and_a_zero_advantage_have_no_gradient",
     "a_ratio_near_1_multiplies_the_advantage", "what_is_wrong_and_got_likelier_counts_in_full"),
    ("loss = loss - (", "loss = loss + (",
     "at the old policy the loss is +A: it is minimised, and so it is minus the gain",
     "objective_equals_a_loop", "a_clipped_ratio_and_a_zero_advantage_have_no_gradient",
     "at_the_old_policy_the_loss_is_minus_the_advantage", "a_ratio_near_1_multiplies_the_advantage",
     "what_is_wrong_and_got_likelier_counts_in_full"),
    (" * mask", "",
     "padding changes the loss: where the mask is False there is no action, so no gain either",
     "objective_equals_a_loop", "padding_changes_no_objective"))
exercise(
    "vqvae.Codebook.forward", "Eq. (3): straight through", "test_vqvae.py",
    "straight_through what_the_decoder_gets_is_the_nearest_code "
    "what_the_decoder_gets_depends_on_x commitment_is_a_mean_over_all_numbers "
    "commitment_pulls_x_to_its_code_and_not_the_code_to_x",
    ("x + (q - x).detach()", "q",
     "Eq. (3): the code is right, but no gradient passes it: the encoder learns nothing from words",
     "straight_through", "what_the_decoder_gets_depends_on_x"),
    ("(q - x).detach()", "(q - x)",
     "Eq. (3): a gradient comes to x twice, once with each sign, and is 0: sg is missing",
     "straight_through"),
    ("x + (q - x).detach()", "q + (x - q).detach()",
     "Eq. (3) with x and q exchanged: the decoder gets x itself, and the gradient goes to the code",
     "straight_through", "what_the_decoder_gets_is_the_nearest_code",
     "what_the_decoder_gets_depends_on_x"),
    ("F.mse_loss(x, q)", "F.mse_loss(x.detach(), q)",
     "Eq. (5): the commitment has the right value, but no gradient that moves x to its code",
     "commitment_pulls_x_to_its_code_and_not_the_code_to_x"),
    ("F.mse_loss(x, q)", "(x - q).square().sum(1).mean()",
     "Eq. (5): the commitment is too large by a factor D: a mean over dimensions, not a sum",
     "commitment_is_a_mean_over_all_numbers",
     "commitment_pulls_x_to_its_code_and_not_the_code_to_x"))
exercise(
    "vqvae.Codebook.update", "Eq. (4): codes as moving averages", "test_vqvae.py",
    "update_equals_a_loop dead_is_below_a_twentieth_of_the_average the_first_batch_is_clustered",
    ("self.embed_sum.lerp_(hit.T @ x, 1 - EMA_DECAY)", "self.embed_sum.lerp_(hit.T @ x, EMA_DECAY)",
     "g of the old sum and 1 - g of the new one, not the other way round", "update_equals_a_loop",
     "dead_is_below_a_twentieth_of_the_average"),
    ("self.replace_dead_codes(x, self.cluster_size < least)", "pass",
     "codes below `least` start again: replace_dead_codes",
     "dead_is_below_a_twentieth_of_the_average"),
    ("self.kmeans_init(x)", "pass", "an empty codebook starts from kmeans_init",
     "the_first_batch_is_clustered"))
exercise(
    "recurrent.draw_r", "Eq. (5): how many iterations", "test_recurrent.py",
    "draw_r_has_the_quantiles_of_the_paper draw_r_has_one_more_than_its_mean draw_r_is_never_0 "
    "draw_r_without_sigma_is_poisson draw_r_spreads_by_sigma",
    (" - SIGMA ** 2 / 2", "",
     "the spread is right and the mean too large: the mean of exp(normal) is above exp(its mean)",
     "draw_r_has_the_quantiles_of_the_paper", "draw_r_has_one_more_than_its_mean"),
    (".long() + 1", ".long()",
     "a Poisson draw may be 0, and no pass is without iteration: it is one short everywhere",
     "draw_r_has_the_quantiles_of_the_paper", "draw_r_has_one_more_than_its_mean",
     "draw_r_is_never_0"),
    ("torch.poisson(tau.exp())", "tau.exp().round()",
     "at sigma = 0 all draws are equal: exp(tau) is the rate of a Poisson draw, not the number",
     "draw_r_has_the_quantiles_of_the_paper", "draw_r_without_sigma_is_poisson"),
    ("SIGMA * torch", "torch", "tau has a standard deviation of 1, not sigma",
     "draw_r_has_the_quantiles_of_the_paper", "draw_r_has_one_more_than_its_mean",
     "draw_r_without_sigma_is_poisson", "draw_r_spreads_by_sigma"),
    ("torch.randn(n)", "torch.randn(1).expand(n)",
     "all n numbers have one tau in common: they spread as a Poisson draw alone",
     "draw_r_has_the_quantiles_of_the_paper", "draw_r_has_one_more_than_its_mean",
     "draw_r_spreads_by_sigma"))
exercise(
    "recurrent.kl_change", "the KL between two iterations", "test_recurrent.py",
    "changes_equal_their_definitions a_kl_is_never_negative "
    "a_kl_does_not_see_a_constant_in_the_logits a_kl_of_two_words_by_hand",
    ("for logits in (before, after)", "for logits in (after, before)",
     "a KL, but KL(p_after || p_before): the mean is over the iteration before",
     "changes_equal_their_definitions"),
    ("p.exp() * (p - q)", "p - q",
     "it can be negative: a KL is a mean under p, and here all words weigh the same",
     "changes_equal_their_definitions", "a_kl_is_never_negative", "a_kl_of_two_words_by_hand"),
    (".log_softmax(-1)", "",
     "a constant added to all logits changes it: logits are no log-probabilities yet",
     "changes_equal_their_definitions", "a_kl_is_never_negative",
     "a_kl_does_not_see_a_constant_in_the_logits"),
    (".sum(-1)", ".mean(-1)",
     "it is too small by a factor V: p weighs the words already, so they are summed",
     "changes_equal_their_definitions", "a_kl_of_two_words_by_hand"))
exercise(
    "recurrent.Exit.__call__", "when to stop", "test_recurrent.py",
    "exit_on_the_latent exit_on_kl exit_on_the_same_word exit_on_the_second_difference",
    ('"second" else self.limit)', '"second" else self.limit + 1)',
     "it stops at the last agreement that is wanted, not one later", "exit_on_the_same_word"),
    ("before, self.before = self.before, now", "before = self.before",
     "remember `now`: the next call compares with it"),
    ("torch.where(still, self.same + 1, 0)", "self.same + still",
     "agreements in a row: another word starts the count again",
     "exit_on_the_same_word", "exit_on_the_second_difference"),
    needs=["recurrent.kl_change"])
exercise(
    "lab.controls.donors", "who gets whose thoughts", "lab/test_controls.py",
    "swapped_thoughts_come_from_a_row_with_as_many nobody_is_its_own_donor everybody_gives_once "
    "most_donors_have_as_many_thoughts",
    ("order.roll(1)", "order",
     "rows get their own thoughts: each takes those of the row before it in the order of n",
     "swapped_thoughts_come_from_a_row_with_as_many", "nobody_is_its_own_donor"),
    ("n.cpu().argsort(stable=True)", "torch.arange(len(n))",
     "the donor is the row before in the batch: of rows sorted by n, most have as many thoughts",
     "swapped_thoughts_come_from_a_row_with_as_many", "most_donors_have_as_many_thoughts"),
    ("torch.empty_like(order).scatter_(0, order, order.roll(1))", "order.roll(1)",
     "some get their own: these are the donors of the places in the sorted order, not of the rows",
     "swapped_thoughts_come_from_a_row_with_as_many", "nobody_is_its_own_donor",
     "most_donors_have_as_many_thoughts"),
    ("torch.empty_like(order).scatter_(0, order, order.roll(1))",
     "((n[:, None] - n).abs() + 1000 * torch.eye(len(n)).long()).argmin(1)",
     "a row with as many thoughts, but the same for several: in a swap each row gives once",
     "swapped_thoughts_come_from_a_row_with_as_many", "everybody_gives_once"))
