import aws.sdk.kotlin.services.sts.StsClient
import aws.sdk.kotlin.services.sts.getCallerIdentity
import kotlinx.coroutines.runBlocking
import kotlin.system.exitProcess

/**
 * A program as it might run in any pod: the AWS SDK for Kotlin with nothing configured. It says who STS says it is, at the
 * start and again for each line of its input, with credentials that it fetches anew.
 */
fun main(): Unit = runBlocking {
    say()
    while (readLine() != null) say()
    exitProcess(0)
}

private suspend fun say() {
    val started = System.nanoTime()
    val said = try {
        val identity = StsClient.fromEnvironment().use { it.getCallerIdentity {} }
        "\"arn\": ${quoted(identity.arn.orEmpty())}"
    } catch (error: Exception) {
        "\"error\": ${quoted(generateSequence<Throwable>(error) { it.cause }.take(6).joinToString(": "))}"
    }
    println("{$said, \"tookMs\": ${(System.nanoTime() - started) / 1e6}}")
    System.out.flush()
}

private fun quoted(text: String): String =
    text.map { if (it < ' ') " " else if (it == '"' || it == '\\') "\\$it" else "$it" }.joinToString("", "\"", "\"")
