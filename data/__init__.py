"""All tasks by name. A new task is one class in a file here and one line below."""
from data.arithmetic import Arithmetic

TASKS = {"arithmetic": Arithmetic}
