"""What the code claims, checked: mostly one thing computed in two ways, the second a plain loop.

Where to begin: test_model.py writes the block and Llama out in full, and test_methods.py puts every
method on every task through the contract of method.py alone. Then the test of the paper that you
care about:

    equations of                    are graded in
    model.py (its top)              test_model.py: test_equals_the_reference, and its caches
    colar.py        (1)             test_colar.py: test_layout_and_merge_equal_a_loop
                    (2), (3)        test_latent_losses_equal_torch_distributions
                    (4)             test_loss_equals_a_loop
    vqvae.py        (1)             test_vqvae.py: test_loss_equals_a_loop
                    (2)             test_nearest_equals_a_loop
                    (3)             test_straight_through
                    (4)             test_update_equals_a_loop
                    (5)             test_loss_equals_a_loop
                    (6)             test_left_draws_all_five_shares_from_the_left
                    (7)             test_mixtures_that_branch_off_one_question_are_as_if_alone
    recurrent.py    (1) to (4)      test_recurrent.py: test_forward_equals_a_naive_loop
                    (5)             test_draw_r_has_the_quantiles_of_the_paper
                    (6)             test_backpropagation_is_truncated
    baselines.py    (1)             test_baselines.py: test_schedule_on_worked_values
                    (2)             test_loss_and_gradients_equal_a_loop
                    (3)             test_codi_equals_a_loop
    rl.py           (1)             tests of `check` in the test of every task
                    (2)             test_rl.py: test_advantages_equal_a_loop
                    (3), (4)        test_objective_equals_a_loop

The loop and its runs are in test_train.py, several processes in test_processes.py, sweeps in
test_sweep.py, what holds for every task in test_tasks.py and more of each in a file of its own, the
laboratory in tests/lab, the course in test_course.py. Commands in pages and docstrings are checked
by test_docs.py. test_house.py says how files may import each other and how long they may be.
helpers.py has what several of these files use; conftest.py the three things in which the tests
differ from a user's run.
"""
