"""What stock clients show of the agent."""

from processors.presence import AgentState


def test_an_agent_listens_until_it_is_asked() -> None:
    assert AgentState().state == "listening"


def test_between_question_and_answer_it_thinks() -> None:
    agent = AgentState()
    agent.caller_finished()
    assert agent.state == "thinking"
    agent.speech(True)
    assert agent.state == "speaking"
    agent.answered()
    agent.speech(False)
    assert agent.state == "listening"


def test_between_one_moment_and_the_answer_it_thinks() -> None:
    agent = AgentState()
    agent.caller_finished()
    agent.tools_called()
    agent.speech(True)
    agent.answered()  # "One moment, please." is out; its tool is not
    agent.speech(False)
    assert agent.state == "thinking"
    agent.speech(True)
    agent.answered()
    agent.speech(False)
    assert agent.state == "listening"


def test_a_caller_who_speaks_again_is_listened_to() -> None:
    agent = AgentState()
    agent.caller_finished()
    agent.tools_called()
    agent.caller_started()
    assert agent.state == "listening"
