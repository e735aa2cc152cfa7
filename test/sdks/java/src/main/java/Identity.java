import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.concurrent.Callable;

/**
 * A program as it might run in any pod: an AWS SDK for Java (its argument is v1 or v2) with nothing configured. It says who
 * STS says it is, at the start and again for each line of its input, with credentials that it fetches anew.
 */
public final class Identity {
  public static void main(String[] args) throws Exception {
    Callable<String> identity = args[0].equals("v1") ? Identity::byVersion1 : Identity::byVersion2;
    say(identity);
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    while (lines.readLine() != null) say(identity);
    System.exit(0);
  }

  private static String byVersion2() {
    try (var credentials = software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider.builder().build();
        var client = software.amazon.awssdk.services.sts.StsClient.builder().credentialsProvider(credentials).build()) {
      return client.getCallerIdentity().arn();
    }
  }

  /** Version 1 reads no address of STS from the environment. */
  private static String byVersion1() {
    var endpoint =
        new com.amazonaws.client.builder.AwsClientBuilder.EndpointConfiguration(
            System.getenv("AWS_ENDPOINT_URL_STS"), System.getenv("AWS_REGION"));
    return com.amazonaws.services.securitytoken.AWSSecurityTokenServiceClientBuilder.standard()
        .withEndpointConfiguration(endpoint)
        .withCredentials(new com.amazonaws.auth.DefaultAWSCredentialsProviderChain())
        .build()
        .getCallerIdentity(new com.amazonaws.services.securitytoken.model.GetCallerIdentityRequest())
        .getArn();
  }

  private static void say(Callable<String> identity) {
    long started = System.nanoTime();
    String said;
    try {
      said = "\"arn\": " + quoted(identity.call());
    } catch (Exception error) {
      said = "\"error\": " + quoted(error.toString());
    }
    System.out.println("{" + said + ", \"tookMs\": " + (System.nanoTime() - started) / 1e6 + "}");
  }

  private static String quoted(String text) {
    StringBuilder quoted = new StringBuilder("\"");
    for (char letter : text.toCharArray()) {
      quoted.append(letter < ' ' ? ' ' : letter == '"' || letter == '\\' ? "\\" + letter : letter);
    }
    return quoted.append('"').toString();
  }
}
