"""What the e2e tests and the demo share: Sandmount in a cluster, its operator as a process, and kubectl with objects.

`tests.cluster` gives the cluster and knows nothing of Sandmount; here Sandmount is put into it.
"""

from tests.support.installation import Before, install, look, put_back
from tests.support.kubectl import Json, Kube, NotInTimeError, wait_until
from tests.support.operator import OperatorProcess

__all__ = ["Before", "Json", "Kube", "NotInTimeError", "OperatorProcess", "install", "look", "put_back", "wait_until"]
